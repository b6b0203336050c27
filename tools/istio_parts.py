"""What services and jobs of the base have in common, in one place: how they enter the database, and how little they may do."""

HEAD = "Rendered by tools/istio_base.py; change it there."

RESTRICTED = """\
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
"""


def database_env(process: str) -> str:
    """How a process enters the database, as lines of its `env`: the one place that knows its role and its password's Secret.

    Today all of them are the role of the ConfigMap's DB_USER.
    """
    return """\
            - name: DB_PASSWORD
              valueFrom: {secretKeyRef: {name: trading-database, key: password}}
"""
