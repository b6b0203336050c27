"""What services and jobs of the base have in common, in one place: how they enter the database, and how little they may do."""

HEAD = "Rendered by tools/istio_base.py; change it there."

RESTRICTED = """\
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
"""


def database_env(role: str = "") -> str:
    """How a process enters the database, as lines of its `env`: as the ConfigMap's DB_USER, whose session takes on a role then.

    Without one it stays the owner, who makes the roles.
    """
    takes_on = f"            - {{name: DB_ROLE, value: {role}}}\n" if role else ""
    return f"""\
            - name: DB_PASSWORD
              valueFrom: {{secretKeyRef: {{name: trading-database, key: password}}}}
{takes_on}"""
