"""What istiod pushes to each sidecar is what the translator of tests/envoy makes of the same manifests."""

import pytest
from envoy_mesh.outbound import cluster_name

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.pushed import Pushed, Translated
from tests.kubernetes.seen import all_available, pods_of, tell
from tools.istio_network import reachable
from tradekit.services import SERVICES

pytestmark = pytest.mark.timeout(1800)


def test_istiod_pushes_what_the_translator_says(mesh: Cluster) -> None:
    mesh.until(lambda: all_available(mesh), "every service available", 600)
    ours, routes, rules = Translated(), 0, 0
    every = {cluster_name(workload.host, port.number) for workload, port in ours.ports()}
    # The operator is shown every service.
    shell = Pushed(mesh, "operator")
    for workload, port in ours.ports():
        where = f"{workload.name}:{port.number}"
        assert shell.routes(workload, port) == ours.routes(workload, port), where
        assert shell.cluster(workload, port) == ours.cluster(workload, port), where
        routes += len(ours.routes(workload, port))
    for service in SERVICES:
        (pod,) = pods_of(mesh, service.name)
        pushed, workload = Pushed(mesh, pod["metadata"]["name"]), ours.manifests.workload(service.name)
        assert pushed.hears_only_the_mesh(), service.name
        expected = ours.inbound(workload)
        assert pushed.inbound() == expected, service.name
        rules += sum(len(one["policies"]) for inbound in expected.values() for one in inbound["rules"])
        shown = [(one, port) for one, port in ours.ports() if one.name in {other.name for other in reachable(service)}]
        names = {cluster_name(one.host, port.number) for one, port in shown}
        # Of what is no service of the mesh, such as the database, the translator says nothing.
        assert {name for name in pushed.visible() if name in every} == names, service.name
        for one, port in shown:
            assert pushed.routes(one, port) == ours.routes(one, port), f"{service.name} → {one.name}:{port.number}"
            assert pushed.cluster(one, port) == ours.cluster(one, port), f"{service.name} → {one.name}:{port.number}"
    tell(f"{len(SERVICES) + 1} sidecars have what the translator says: {routes} routes, {rules} rules of who is let in")
