"""One cluster with one mesh for all tests of this folder, in the order of their files and of what stands in them."""

import os
import time
from collections.abc import Iterator

import pytest

from tests.kubernetes.cluster import ROOT, Cluster, cluster, fault, overlay
from tests.kubernetes.seen import all_available, tell


@pytest.fixture(scope="session")
def place() -> Iterator[Cluster]:
    if os.environ.get("KUBERNETES_TESTS") != "1":
        pytest.skip("make test-kubernetes builds the image and runs it on a cluster")
    # Whoever asks for these tests and lacks something must not take it for a success.
    if why := fault():
        pytest.fail(why, pytrace=False)
    with cluster() as found:
        yield found


@pytest.fixture(scope="session")
def mesh(place: Cluster) -> Cluster:
    """The dev overlay, applied to an empty cluster."""
    began = time.monotonic()
    place.apply(overlay(place.folder))
    place.kubectl("apply", "-f", "-", stdin=(ROOT / "istio" / "operator.yaml").read_text())
    place.until(lambda: all_available(place), "every service available", 1500)
    tell(f"applied to all available: {time.monotonic() - began:.0f} s")
    return place
