"""Renders istio/base/jobs/: the Job that brings the database to the newest schema, and the one that trains the first model.

Both are idempotent: run again they find the schema the newest and the model usable. A finished one is removed after a while, so
that the next `kubectl apply` may make it anew with another image.
"""

from pathlib import Path

from tools.istio_parts import HEAD, RESTRICTED, database_env
from tradekit.services import TRAINING_ROLE

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "istio" / "base" / "jobs"

TEMPLATE = """\
# {head}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {name}
automountServiceAccountToken: false
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {name}
  # By it an upgrade applies one of them before everything else.
  labels: {{app: {name}}}
spec:
  backoffLimit: {tries}
  ttlSecondsAfterFinished: 600
  template:
    metadata:
      # It calls no service, so it has no sidecar.
      labels: {{app: {name}, sidecar.istio.io/inject: "false"}}
    spec:
      serviceAccountName: {name}
      automountServiceAccountToken: false
      enableServiceLinks: false
      restartPolicy: OnFailure
{placement}\
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {{type: RuntimeDefault}}
      containers:
        - name: {name}
          image: trading-mesh
          args: [{name}]
          envFrom:
            - configMapRef: {{name: crypto-trading-config}}
          env:
{env}\
          resources:
            requests: {{cpu: 50m, memory: {memory}}}
            limits: {{memory: {memory_limit}}}
{restricted}\
          volumeMounts:
            - {{name: tmp, mountPath: /tmp}}
{mounts}\
      volumes:
        - {{name: tmp, emptyDir: {{sizeLimit: 256Mi}}}}
{volumes}\
"""

TRAIN_PLACEMENT = """\
      # The model's volume may be one that a single node mounts at a time: it is trained where it will be read.
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: signal}}}
"""
TRAIN_ENV = """\
            - {name: MODEL_OUT, value: /var/lib/trading/model}
            - {name: MODEL_SIGNING_KEY_FILE, value: /etc/trading/model-key/private.pem}
            - {name: MODEL_PUBLIC_KEY_FILE, value: /etc/trading/model/public.pem}
            - {name: DB_TIMEOUT_SECONDS, value: "60"}
"""
TRAIN_MOUNTS = """\
            - {name: model, mountPath: /var/lib/trading/model}
            - {name: model-signing-key, mountPath: /etc/trading/model-key, readOnly: true}
            - {name: model-public-key, mountPath: /etc/trading/model, readOnly: true}
"""
TRAIN_VOLUMES = """\
        - {name: model, persistentVolumeClaim: {claimName: model}}
        - {name: model-signing-key, secret: {secretName: model-signing-key, defaultMode: 0440}}
        - {name: model-public-key, secret: {secretName: model-public-key, defaultMode: 0440}}
"""


def rendered() -> dict[str, str]:
    """File name and text of each job, and of their list."""
    common = {"head": HEAD, "restricted": RESTRICTED}
    migrate = TEMPLATE.format(
        name="migrate",
        # The database may take some minutes to come.
        tries=20,
        placement="",
        env=database_env(),
        memory="128Mi",
        memory_limit="384Mi",
        mounts="",
        volumes="",
        **common,
    )
    train = TEMPLATE.format(
        name="train",
        tries=6,
        placement=TRAIN_PLACEMENT,
        env=database_env(TRAINING_ROLE) + TRAIN_ENV,
        memory="512Mi",
        memory_limit="2Gi",
        mounts=TRAIN_MOUNTS,
        volumes=TRAIN_VOLUMES,
        **common,
    )
    files = {"migrate.yaml": migrate, "train.yaml": train}
    listed = "".join(f"  - {name}\n" for name in files)
    head = f"# {HEAD}\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
    return {**files, "kustomization.yaml": head + listed}
