"""A replay whose every call passes two real Envoys comes to what it comes to without them."""

from __future__ import annotations

from collections.abc import Callable

from envoy_mesh.replayed import ReplayedMesh
from replay_runs import Undisturbed

from tradekit.services import EXECUTOR, MONITOR, ORCHESTRATOR, SERVICES


def test_a_replay_through_the_mesh_has_the_same_hash_and_sends_each_order_once(
    mesh: ReplayedMesh, undisturbed: Undisturbed, record_property: Callable[[str, object], None]
) -> None:
    """Last of those that look at this mesh, which ends with it."""
    calm = undisturbed.report
    envoys = mesh.sidecars.envoys
    execute = envoys[ORCHESTRATOR.name].stats(rf"^cluster\.outbound\|{EXECUTOR.port}\|\|.*\.upstream_rq_(retry|total)$")
    # Nobody calls the monitor; it asks all others how they are.
    called = [service.name for service in SERVICES if service is not MONITOR]
    heard = {name: envoys[name].count(r"rbac\.allow_\.allowed$") for name in called}
    result = mesh.result()
    assert result["hash"] == calm.result.hash
    assert result["balances_equal"]
    assert result["orders"] == result["exchange_orders"] == calm.agreement.exchange_orders > 0
    assert all(heard.values()), heard
    (total,) = (count for name, count in execute.items() if name.endswith("total"))
    (again,) = (count for name, count in execute.items() if name.endswith("retry"))
    assert total > 0 and again == 0
    record_property("replay through Envoys", f"hash {result['hash']}, {result['orders']} orders, none sent twice")
