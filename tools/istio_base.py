"""Renders istio/base/services/ and what lies beside it: each service's ServiceAccount, Deployment and Service, and where it is
dialled; the Jobs of the database and the model; who may reach whom.

They differ in little (port, files, one more port), so one template and the table of services keep them alike; a test
fails when the files are not what this gives. What is written by hand lies beside the folders.
"""

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "gen" / "python")]

from exchange_client.adapters import ADAPTERS  # noqa: E402
from tools.istio_jobs import FOLDER as JOBS_FOLDER  # noqa: E402
from tools.istio_jobs import rendered as rendered_jobs  # noqa: E402
from tools.istio_network import FOLDER as NETWORK_FOLDER  # noqa: E402
from tools.istio_network import rendered as rendered_network  # noqa: E402
from tools.istio_parts import RESTRICTED, database_env  # noqa: E402
from tradekit.services import PAGE_PORT, SERVICES, Need, ServiceName  # noqa: E402

FOLDER = ROOT / "istio" / "base" / "services"
CONFIG = ROOT / "istio" / "base" / "config.yaml"


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume at a path. `source` is its definition as YAML in one line."""

    name: str
    path: str
    source: str


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that its service reads only from a regular file of its own with mode 0600.

    Kubernetes shows a Secret as links to files of root, so an init container copies it into memory.
    """

    secret_name: str
    file: str
    folder: str


@dataclass(frozen=True, slots=True)
class Extra:
    """What a need of a service adds to its workload."""

    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    private_key: PrivateKey | None = None


def secret(name: str, path: str) -> Mount:
    """The files of a Secret, readable by the service's own group only."""
    return Mount(name, path, f"{{secret: {{secretName: {name}, defaultMode: 0440}}}}")


COINBASE = ADAPTERS["coinbase"]
# What a need that is not here adds, is no file and no fixed variable.
EXTRAS = {
    # Candles are the real exchange's, wherever orders go.
    Need.CANDLES: Extra(env=(("EXCHANGE_HOST", str(COINBASE.live_host)),)),
    Need.ORDERS: Extra(
        env=(
            ("EXCHANGE_HOST", str(COINBASE.sandbox_host)),
            ("EXCHANGE_KEY_FILE", "/etc/trading/exchange/key.json"),
        ),
        mounts=(secret("coinbase-api", "/etc/trading/exchange"),),
    ),
    Need.TICKET_PUBLIC_KEY: Extra(
        env=(("TICKET_PUBLIC_KEY_FILE", "/etc/trading/ticket/public.pem"),),
        mounts=(secret("ticket-public-key", "/etc/trading/ticket"),),
    ),
    Need.TICKET_SIGNING_KEY: Extra(
        env=(("TICKET_SIGNING_KEY_FILE", "/etc/trading/ticket/private.pem"),),
        private_key=PrivateKey("ticket-signing-key", "private.pem", "/etc/trading/ticket"),
    ),
    Need.MODEL: Extra(
        env=(
            ("MODEL_DIR", "/var/lib/trading/model"),
            ("MODEL_PUBLIC_KEY_FILE", "/etc/trading/model/public.pem"),
        ),
        mounts=(
            Mount("model", "/var/lib/trading/model", "{persistentVolumeClaim: {claimName: model}}"),
            secret("model-public-key", "/etc/trading/model"),
        ),
    ),
}
TEMPLATE = """\
# Rendered by tools/istio_base.py; change it there.
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
automountServiceAccountToken: false
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
    - {{name: grpc, port: {port}, targetPort: grpc, appProtocol: grpc}}
{service_ports}\
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 1
  minReadySeconds: 5
  strategy:
{strategy}\
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}, version: v1}}
      annotations:
        trading/config-checksum: "{checksum}"
        # The sidecar hands these to whoever scrapes its port 15020, together with its own.
        prometheus.io/scrape: "true"
        prometheus.io/port: "9464"
        prometheus.io/path: /metrics
        # What an idle sidecar of this mesh uses; Istio's default of 100m for each would be most of a small node.
        sidecar.istio.io/proxyCPU: 10m
        sidecar.istio.io/proxyMemory: 96Mi
        sidecar.istio.io/proxyMemoryLimit: 256Mi
    spec:
      serviceAccountName: {name}
      automountServiceAccountToken: false
      # A Service called {name} would otherwise put {variable}=tcp://… into every pod, where the port is read.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {grace}
{placement}\
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {{type: RuntimeDefault}}
{init}\
      containers:
        - name: {name}
          image: trading-mesh
          args: [{name}]
          ports:
            - {{name: grpc, containerPort: {port}}}
            - {{name: http-metrics, containerPort: 9464}}
{container_ports}\
          envFrom:
            - configMapRef: {{name: crypto-trading-config}}
{env}\
          # Whether the process answers. What it waits for, such as a database that is away, is a matter of readiness: a restart
          # would bring nothing nearer.
          startupProbe:
            grpc: {{port: {port}, service: live}}
            periodSeconds: 2
            timeoutSeconds: 2
            failureThreshold: {startup_failures}
          readinessProbe:
            grpc: {{port: {port}, service: ""}}
            periodSeconds: 5
            timeoutSeconds: 2
            failureThreshold: 2
          livenessProbe:
            grpc: {{port: {port}, service: live}}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          resources:
            requests: {{cpu: {cpu}, memory: {memory}}}
            limits: {{memory: {memory_limit}}}
{restricted}\
          volumeMounts:
            - {{name: tmp, mountPath: /tmp}}
{mounts}\
      volumes:
        - {{name: tmp, emptyDir: {{sizeLimit: 64Mi}}}}
{volumes}\
"""

# A pod that is killed in its drain leaves what it did half done to others: time for the longest drain, and for the sidecar then.
GRACE_SECONDS = 180

LIST = """\
# Rendered by tools/istio_base.py; change it there.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
"""

ADDRESSES = """\
# Rendered by tools/istio_base.py; change it there. ../kustomization.yaml merges it into the ConfigMap.
apiVersion: v1
kind: ConfigMap
metadata:
  name: crypto-trading-config
data:
"""

ROLLING = """\
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
"""
RECREATE = """\
    # The old pod ends before the new one begins: which order is being worked on, a halt that the database does not have yet and
    # how long a send has been watched are kept in the process. Meanwhile orders wait as rows. After the loss of a node two may
    # overlap all the same; then the intent in the database and the id at the exchange keep an order single.
    type: Recreate
"""


SPREAD = """\
      topologySpreadConstraints:
        - topologyKey: kubernetes.io/hostname
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app: {name}}}}}
        - topologyKey: topology.kubernetes.io/zone
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {{matchLabels: {{app: {name}}}}}
"""
TOGETHER = """\
      # The model's volume may be one that a single node mounts at a time: in a rollout the new pod comes to where the old one
      # is. An overlay whose storage many nodes can mount takes this away.
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {{topologyKey: kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: {name}}}}}}}
"""


INIT_TEMPLATE = """\
      initContainers:
        # The key must be a file of its reader alone; a mounted Secret is a link to a file of root.
        - name: own-key
          image: trading-mesh
          args: [own-key, /secret/{file}, {folder}/{file}]
          resources:
            requests: {{cpu: 10m, memory: 32Mi}}
            limits: {{memory: 128Mi}}
{restricted}\
          volumeMounts:
            - {{name: {secret_name}, mountPath: /secret, readOnly: true}}
            - {{name: own-key, mountPath: {folder}}}
"""


def render(service: ServiceName, checksum: str) -> str:
    """The manifests of one service."""
    extras = [EXTRAS[need] for need in Need if need in service.needs and need in EXTRAS]
    key = next((extra.private_key for extra in extras if extra.private_key is not None), None)
    page_service = f"    - {{name: http-page, port: {PAGE_PORT}, targetPort: http-page, appProtocol: http}}\n"
    page_container = f"            - {{name: http-page, containerPort: {PAGE_PORT}}}\n"
    page = Need.PAGE in service.needs
    mounts = [mount for extra in extras for mount in extra.mounts]
    volumes = [*mounts]
    init = ""
    if key is not None:
        init = INIT_TEMPLATE.format(
            secret_name=key.secret_name, file=key.file, folder=key.folder, restricted=RESTRICTED
        )
        own = Mount("own-key", key.folder, "{emptyDir: {medium: Memory, sizeLimit: 1Mi}}")
        mounts.append(own)
        volumes += [own, secret(key.secret_name, "/secret")]
    variables = [database_env(service.database_role)] if Need.DATABASE in service.needs else []
    variables += [f"            - {{name: {name}, value: {value}}}\n" for extra in extras for name, value in extra.env]
    mount_lines = [f"            - {{name: {m.name}, mountPath: {m.path}, readOnly: true}}\n" for m in mounts]
    return TEMPLATE.format(
        name=service.name,
        port=service.port,
        variable=service.port_variable,
        checksum=checksum,
        service_ports=page_service if page else "",
        container_ports=page_container if page else "",
        env="".join(["          env:\n", *variables] if variables else ""),
        placement=""
        if service.pod.alone
        else (TOGETHER if Need.MODEL in service.needs else SPREAD).format(name=service.name),
        restricted=RESTRICTED,
        strategy=RECREATE if service.pod.alone else ROLLING,
        grace=GRACE_SECONDS,
        startup_failures=service.pod.startup_seconds // 2,
        cpu=service.pod.cpu,
        memory=service.pod.memory,
        memory_limit=service.pod.memory_limit,
        init=init,
        mounts="".join(mount_lines),
        volumes="".join(f"        - {{name: {m.name}, {m.source[1:]}\n" for m in volumes),
    )


def rendered() -> dict[str, str]:
    """File name and text of every service's manifests, of their list, and of the addresses that the ConfigMap gets."""
    lines = "".join(f"  {one.address_variable}: {one.name}:{one.port}\n" for one in SERVICES)
    addresses = ADDRESSES + lines
    # A changed ConfigMap restarts nothing by itself; its checksum in the template does.
    checksum = hashlib.sha256(CONFIG.read_bytes() + addresses.encode()).hexdigest()[:16]
    files = {f"{service.name}.yaml": render(service, checksum) for service in SERVICES}
    listed = LIST + "".join(f"  - {name}\n" for name in files)
    return {**files, "kustomization.yaml": listed, "addresses.yaml": addresses}


def all_files() -> dict[Path, str]:
    """Everything that is rendered below istio/base, by its path."""
    folders = {FOLDER: rendered(), JOBS_FOLDER: rendered_jobs(), NETWORK_FOLDER: rendered_network()}
    return {folder / name: text for folder, files in folders.items() for name, text in files.items()}


def main() -> None:
    """Writes the files, and takes away what is not among them."""
    files = all_files()
    for folder in {path.parent for path in files}:
        folder.mkdir(parents=True, exist_ok=True)
        for left_over in set(folder.iterdir()) - files.keys():
            left_over.unlink()
    for path, text in files.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
