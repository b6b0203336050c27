"""Every file that comes from the contracts, as text by its path in the repository."""

from collections.abc import Iterable, Sequence

from tools.mesh_policy.authorization import authorization, peer_authentication, reflection
from tools.mesh_policy.documents import HEAD, text
from tools.mesh_policy.ingress import at_the_gateway, routes
from tools.mesh_policy.page import page
from tools.mesh_policy.table import NAMESPACE, Rpc
from tools.mesh_policy.traffic import destination_rules, virtual_services

FOLDER = "istio/generated"
PAGE = "docs/contract.md"
_KUSTOMIZATION = f"""\
# {HEAD}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {NAMESPACE}
resources:
"""


def rendered(rpcs: Sequence[Rpc]) -> dict[str, str]:
    """Path and text of each file."""
    manifests = {
        "peer-authentication.yaml": text(peer_authentication()),
        "authorization.yaml": text(authorization(rpcs)),
        "virtual-services.yaml": text(virtual_services(rpcs)),
        "destination-rules.yaml": text(destination_rules(rpcs)),
    }
    files = {
        **manifests,
        "kustomization.yaml": _kustomization(manifests),
        # For clusters of developers, so it is in a folder that an overlay has to name.
        "reflection/authorization.yaml": text(reflection()),
        "reflection/kustomization.yaml": _kustomization(["authorization.yaml"]),
        # For clusters with a gateway, which not every one has.
        "ingress/routes.yaml": text(routes(rpcs)),
        "ingress/authorization.yaml": text(at_the_gateway(rpcs)),
        "ingress/kustomization.yaml": _kustomization(["routes.yaml", "authorization.yaml"]),
    }
    return {**{f"{FOLDER}/{name}": found for name, found in files.items()}, PAGE: page(rpcs)}


def _kustomization(names: Iterable[str]) -> str:
    return _KUSTOMIZATION + "".join(f"  - {name}\n" for name in names)
