"""A real Kubernetes with Istio for a test: the one that KUBECONFIG names, or one that is started beside the project.

The second lives in namespaces of its own, has one node and no storage class, and is reached by running each command inside of it.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.image import builder
from tests.image.builder import IMAGE, build, run, stored

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT.parent / "shared" / "test-cluster"
KEPT = ROOT / "build" / "kubernetes"
HOME = Path(os.environ.get("TEST_CLUSTER_HOME") or Path.home() / ".cache" / "test-cluster")
NAMESPACE = "crypto-trading"
# As the overlay names it, in the words of a container runtime.
IMAGE_NAME = "docker.io/library/trading-mesh:0.1.0"
# What a cluster without a storage class lacks: a volume for each claim, by the claim's name.
CLAIMS = {"data-trading-db-0": "4Gi", "exchange-sim": "1Gi", "model": "1Gi"}


class CommandFailed(AssertionError):
    """A command ended with another code than 0; the text is what it said."""


class Cluster:
    """Commands against a cluster; `prefix` is what brings a command to where the cluster is reached."""

    def __init__(self, prefix: Sequence[str | Path], folder: Path) -> None:
        self._prefix = tuple(map(str, prefix))
        self.folder = folder

    def done(
        self, *command: str | Path, stdin: str | None = None, seconds: float = 120
    ) -> "subprocess.CompletedProcess[str]":
        """A command, however it ended."""
        whole = [*self._prefix, *map(str, command)]
        return subprocess.run(whole, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)

    def run(self, *command: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
        """Output of a command. CommandFailed."""
        done = self.done(*command, stdin=stdin, seconds=seconds)
        if done.returncode != 0:
            raise CommandFailed(f"{' '.join(map(str, command))[:300]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, seconds: float = 120) -> str:
        """Output of kubectl in the mesh's namespace."""
        return self.run("kubectl", "-n", NAMESPACE, *arguments, stdin=stdin, seconds=seconds)

    def begin(self, *command: str | Path) -> "subprocess.Popen[str]":
        """A command that goes on beside the test; `ended` ends it."""
        whole = [*self._prefix, *map(str, command)]
        pipe = subprocess.PIPE
        return subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def apply(self, text: str) -> None:
        """Manifests as they are given, whoever else has set a field of them since."""
        self.run("kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text, seconds=300)

    def got(self, kind: str, *arguments: str) -> Any:
        """Objects of a kind, or one by its name, as they are now."""
        return json.loads(self.kubectl("get", kind, *arguments, "-o", "json"))

    def call(self, service: str, method: str, **request: Any) -> list[Any]:
        """What a service answers the operator; CommandFailed with its status."""
        told = self.kubectl(
            *("exec", "operator", "-c", "operator", "--", "python", "-P", "-m", "cluster.call"),
            *(service, method, json.dumps(request)),
        )
        return [json.loads(line) for line in told.splitlines()]

    def until(self, true: Callable[[], object], what: str, seconds: float) -> float:
        """Waits for an outcome; gives the seconds that it took. What fails on the way may come right."""
        began, last = time.monotonic(), ""
        while True:
            try:
                if true():
                    return time.monotonic() - began
            except (CommandFailed, subprocess.TimeoutExpired) as failed:
                last = str(failed)
            if time.monotonic() - began > seconds:
                pods = self.kubectl("get", "pods", "-o", "wide")
                raise AssertionError(f"not within {seconds:g} s: {what}\n{pods}\n{last[-2000:]}")
            time.sleep(1)


def ended(process: "subprocess.Popen[str]") -> None:
    """Ends a command that was begun, with what it began itself."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def fault() -> str | None:
    """Why there is no cluster to test on; None if there is one."""
    if shutil.which("kubectl") is None:
        return "kubectl is not installed"
    if os.environ.get("KUBECONFIG"):
        return None
    if why := builder.fault():
        return why
    if not BUNDLED.is_dir():
        return "set KUBECONFIG to a cluster with Istio, such as one of kind"
    return None if (HOME / "bin" / "kube").exists() else "the programs of the test cluster are not built: build.sh"


@contextmanager
def cluster() -> Iterator[Cluster]:
    """The cluster with the image loaded and every service allowed a small share of a small node; nothing of the mesh in it. What
    it says of itself in the end is in build/kubernetes."""
    with tempfile.TemporaryDirectory(prefix="mesh-kubernetes-") as name:
        folder = Path(name)
        if os.environ.get("KUBECONFIG"):
            # Its image is loaded by whoever made it: `kind load docker-image`.
            with kept(Cluster((), folder)) as found:
                yield found
            return
        build()
        archive = folder / "image.tar"
        run(*stored("buildah", "push", IMAGE, f"docker-archive:{archive}:{IMAGE_NAME}"), seconds=1800)
        with started(archive):
            archive.unlink()
            for claim in CLAIMS:
                # Whoever mounts it is no owner of it.
                (folder / claim).mkdir()
                (folder / claim).chmod(0o777)
            with kept(Cluster((BUNDLED / "in",), folder)) as found:
                found.run("kubectl", "apply", "-f", "-", stdin="---\n".join(volume(folder, claim) for claim in CLAIMS))
                yield found


@contextmanager
def started(archive: Path) -> Iterator[None]:
    """The cluster beside the project, with an image; one that somebody else has started is left alone."""
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    done = subprocess.run(
        [BUNDLED / "up.sh", archive], env=environment, capture_output=True, text=True, timeout=1800, check=False
    )
    if "already up" in done.stdout:
        raise CommandFailed(f"{BUNDLED}: {done.stdout}")
    try:
        if done.returncode != 0:
            raise CommandFailed(done.stdout[-3000:] + done.stderr[-3000:])
        yield
    finally:
        subprocess.run([BUNDLED / "down.sh"], env=environment, capture_output=True, timeout=120, check=False)


@contextmanager
def kept(found: Cluster) -> Iterator[Cluster]:
    """Whatever becomes of the tests, what the cluster says of them is kept."""
    try:
        yield found
    finally:
        keep(found)


class Pod(NamedTuple):
    """A pod; each container with whether it was started again."""

    name: str
    containers: dict[str, bool]


def containers_of(told: str) -> Iterator[Pod]:
    """The pods of a list as kubectl gives it; none if it gave another answer."""
    if not told.startswith("{"):
        return
    for pod in json.loads(told)["items"]:
        status = pod["status"]
        states = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        yield Pod(pod["metadata"]["name"], {one["name"]: one["restartCount"] > 0 for one in states})


def keep(found: Cluster) -> None:
    """Events, pods and logs as files of build/kubernetes; of the runs before nothing is left."""
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)

    def said(*command: str) -> str:
        try:
            return found.run("kubectl", *command)
        except (CommandFailed, subprocess.TimeoutExpired) as failed:
            return str(failed)

    (KEPT / "events.txt").write_text(said("get", "events", "-A", "--sort-by=.lastTimestamp"))
    (KEPT / "pods.txt").write_text(said("get", "pods", "-A", "-o", "wide") + said("-n", NAMESPACE, "describe", "pods"))
    for pod in containers_of(said("-n", NAMESPACE, "get", "pods", "-o", "json")):
        for container, restarted in pod.containers.items():
            logs = ("-n", NAMESPACE, "logs", pod.name, "-c", container, "--tail=20000")
            (KEPT / f"{pod.name}.{container}.log").write_text(said(*logs))
            if restarted:
                (KEPT / f"{pod.name}.{container}.previous.log").write_text(said(*logs, "--previous"))
    (KEPT / "istiod.log").write_text(said("-n", "istio-system", "logs", "deployment/istiod", "--tail=5000"))


def volume(folder: Path, claim: str) -> str:
    """A volume on the node for one claim."""
    return f"""
apiVersion: v1
kind: PersistentVolume
metadata: {{name: "{claim}"}}
spec:
  capacity: {{storage: {CLAIMS[claim]}}}
  accessModes: [ReadWriteOnce]
  claimRef: {{namespace: {NAMESPACE}, name: "{claim}"}}
  hostPath: {{path: "{folder / claim}", type: Directory}}
"""


def overlay(folder: Path, name: str = "dev", component: str = "") -> str:
    """An overlay rendered for a small node, with a further component: the workloads as they are, but for what they ask of the
    processors."""
    small = '[{"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "10m"}]'
    kinds = "".join(
        f"  - {{target: {{kind: {kind}}}, patch: '{small}'}}\n" for kind in ("Deployment", "StatefulSet", "Job")
    )
    way = os.path.relpath(ROOT / "istio" / "overlays" / name, folder.resolve())
    text = f"apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: {NAMESPACE}\n"
    text += f"resources: [{way}]\npatches:\n{kinds}"
    if component:
        text += f"components: [{os.path.relpath(ROOT / 'istio' / 'components' / component, folder.resolve())}]\n"
    (folder / "kustomization.yaml").write_text(text)
    done = subprocess.run(
        ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", folder],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise CommandFailed(done.stderr)
    return done.stdout


def added(before: str, after: str) -> str:
    """What a component adds to an overlay or changes of it: the rest is there, and may have been scaled since."""
    known = [one for one in yaml.safe_load_all(before) if one]
    return yaml.safe_dump_all([one for one in yaml.safe_load_all(after) if one and one not in known])
