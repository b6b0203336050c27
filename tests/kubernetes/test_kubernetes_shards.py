"""The signal service as two pods, each with a share of the products. The last file: the mesh stays so."""

from typing import Any

import pytest

from tests.kubernetes.cluster import Cluster, added, overlay
from tests.kubernetes.seen import lines, pipeline, pods_of, stage, tell

pytestmark = pytest.mark.timeout(3600)


def decided(place: Cluster, pod: str) -> dict[str, int]:
    """How many signals a pod of the signal service says it decided, by bar."""
    log = place.kubectl("logs", pod, "-c", "signal", "--tail=5000")
    return {entry["as_of"]: entry["signals"] for entry in lines(log, "bar_decided")}


def test_the_signal_service_as_two_pods_decides_every_product(mesh: Cluster) -> None:
    (alone,) = pods_of(mesh, "signal")
    products = max(decided(mesh, alone["metadata"]["name"]).values())
    mesh.kubectl("delete", "deployment", "signal", "--cascade=foreground", "--wait=true", seconds=300)
    mesh.apply(added(overlay(mesh.folder), overlay(mesh.folder, component="signal-shards")))
    both: dict[str, list[int]] = {}

    def whole_bars() -> bool:
        first, second = (decided(mesh, f"signal-{number}") for number in (0, 1))
        both.update({bar: [first[bar], second[bar]] for bar in first.keys() & second.keys()})
        return any(sum(shares) == products and all(shares) for shares in both.values())

    mesh.until(whole_bars, f"a bar of which the two pods decide all {products} products", 600)
    assert all(sum(shares) <= products for shares in both.values()), "no product is decided twice"
    before = watermark(mesh)
    seconds = mesh.until(lambda: watermark(mesh) > before, "a further bar of all products", 300)
    shares = next(shares for shares in both.values() if sum(shares) == products)
    tell(
        f"two pods of the signal service decide {shares} of {products} products; a further whole bar after {seconds:.0f} s"
    )


def watermark(place: Cluster) -> str:
    """Market time up to which the signals of every product are stored."""
    told: Any = stage(pipeline(place), "signals")
    return str(told["watermark"])
