"""The manifests that sidecars are configured from, read from the files themselves, so that each fault has a file and a line.

The folders' kustomizations say which files; of what else they do only the namespace concerns a sidecar. A test compares the
outcome with that of `kubectl kustomize`, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from envoy_mesh.known import API_VERSIONS, IGNORED, KNOWN, METADATA, PATCHED, Shape, faults_of
from envoy_mesh.located import Fields, ManifestRefused, read_text


@dataclass(frozen=True, slots=True)
class ServicePort:
    """A port of a Service: the number that callers dial, and the one that the container listens on."""

    number: int
    container_port: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment and the Service in front of it."""

    name: str
    account: str
    host: str
    ports: tuple[ServicePort, ...]


@dataclass(frozen=True, slots=True)
class Manifests:
    """Documents of which every field is known and that agree with each other."""

    namespace: str
    documents: tuple[Fields, ...]
    workloads: tuple[Workload, ...]

    def of_kind(self, kind: str) -> list[Fields]:
        """The documents of a kind, in their order."""
        return [one for one in self.documents if one["kind"] == kind]

    def workload(self, name: str) -> Workload:
        """One workload by its name."""
        return next(one for one in self.workloads if one.name == name)

    def spec_for(self, kind: str, host: str) -> Fields | None:
        """The VirtualService or DestinationRule of a host; None where nobody wrote one."""
        found = (one["spec"] for one in self.of_kind(kind))
        return next((spec for spec in found if host in (spec.get("host"), *spec.get("hosts", ()))), None)


def read_folders(root: Path, *folders: str) -> list[Fields]:
    """The documents of folders below `root`, as their kustomizations list them."""
    return [document for folder in folders for document in _folder(root, root / folder)]


def checked(documents: Sequence[Fields]) -> Manifests:
    """Refuses what no translation is known for, and what does not go together; all faults at once. ManifestRefused."""
    faults = [fault for document in documents for fault in _unknown(document)]
    if faults:
        raise ManifestRefused(faults)
    kept = tuple(one for one in documents if one["kind"] not in IGNORED)
    namespaces = {one["metadata"].get("namespace") for one in kept}
    if len(namespaces) != 1 or None in namespaces:
        raise ManifestRefused([f"one namespace is needed for all, and there are {sorted(map(str, namespaces))}"])
    (namespace,) = namespaces
    found = Manifests(namespace, kept, tuple(_workloads(kept, namespace)))
    faults = [*_contradictions(found)]
    if faults:
        raise ManifestRefused(faults)
    return found


def _folder(root: Path, folder: Path) -> Iterator[Fields]:
    file = folder / "kustomization.yaml"
    (kustomization,) = read_text(file.read_text(), file.relative_to(root).as_posix())
    faults = [*faults_of(kustomization, KNOWN["Kustomization"], kustomization.place(), "kustomization ")]
    # A patch that reached a workload or a policy would be missed here.
    for patch in kustomization.get("patches", ()):
        patched = {one["kind"] for one in read_text((folder / patch["path"]).read_text(), patch["path"])}
        faults += [f"{patch.place()}: a patch of {kind} is not applied here" for kind in patched - PATCHED]
    if faults:
        raise ManifestRefused(faults)
    for name in kustomization["resources"]:
        path = folder / name
        inside = (
            _folder(root, path) if path.is_dir() else read_text(path.read_text(), path.relative_to(root).as_posix())
        )
        for document in inside:
            if "namespace" in kustomization and document["kind"] != "Namespace":
                document["metadata"].setdefault("namespace", kustomization["namespace"])
            yield document


def _unknown(document: Fields) -> Iterator[str]:
    kind = document.get("kind")
    if kind in IGNORED:
        return
    if kind not in API_VERSIONS:
        yield f"{document.place('kind')}: nothing is known of the kind {kind}"
        return
    if document["apiVersion"] != API_VERSIONS[kind]:
        yield f"{document.place('apiVersion')}: {kind} is read as {API_VERSIONS[kind]}, not {document['apiVersion']}"
    shape: Shape = {"apiVersion": str, "kind": str, "metadata": METADATA, "spec": KNOWN[kind]}
    yield from faults_of(document, shape, document.place(), f"{kind} {document['metadata'].get('name')}: ")


def _workloads(documents: Sequence[Fields], namespace: str) -> Iterator[Workload]:
    services = [one for one in documents if one["kind"] == "Service"]
    for deployment in (one for one in documents if one["kind"] == "Deployment"):
        template = deployment["spec"]["template"]
        name = template["metadata"]["labels"]["app"]
        fronts = [one for one in services if one["spec"]["selector"]["app"] == name]
        if len(fronts) != 1:
            raise ManifestRefused([f"{deployment.place()}: {len(fronts)} Services select {name}, and one is needed"])
        named = {
            port["name"]: port["containerPort"]
            for container in template["spec"]["containers"]
            for port in container.get("ports", ())
        }
        ports = []
        for port in fronts[0]["spec"]["ports"]:
            if port["targetPort"] not in named:
                raise ManifestRefused(
                    [f"{port.place('targetPort')}: no container of {name} names {port['targetPort']}"]
                )
            ports.append(ServicePort(port["port"], named[port["targetPort"]], port["appProtocol"]))
        host = f"{fronts[0]['metadata']['name']}.{namespace}.svc.cluster.local"
        yield Workload(name, template["spec"]["serviceAccountName"], host, tuple(ports))


def _contradictions(found: Manifests) -> Iterator[str]:
    known = {workload.host: {port.number for port in workload.ports} for workload in found.workloads}
    if not found.of_kind("PeerAuthentication"):
        yield "there is no PeerAuthentication: Istio would let callers in without a certificate"
    names = {workload.name for workload in found.workloads}
    for policy in found.of_kind("AuthorizationPolicy"):
        selector = policy["spec"].get("selector")
        if selector is not None and selector["matchLabels"]["app"] not in names:
            yield f"{selector.place()}: no workload has the label app: {selector['matchLabels']['app']}"
    owned: set[tuple[str, str]] = set()
    for document in (*found.of_kind("VirtualService"), *found.of_kind("DestinationRule")):
        spec = document["spec"]
        for host in spec.get("hosts", [spec.get("host")]):
            if host not in known:
                yield f"{spec.place()}: no Service is called {host}"
            if (document["kind"], host) in owned:
                yield f"{document.place()}: a second {document['kind']} for {host}; Istio would take either"
            owned.add((document["kind"], host))
        for route in spec.get("http", ()):
            if len(route["route"]) != 1:
                yield f"{route.place('route')}: one destination is needed; shares of several are not translated"
            for one in (step["destination"] for step in route["route"]):
                if one["port"]["number"] not in known.get(one["host"], ()):
                    yield f"{one.place()}: {one['host']} has no port {one['port']['number']}"
