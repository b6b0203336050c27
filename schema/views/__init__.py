"""What each service reads of other services' tables: one file per reader, each view with the columns that it needs.

A view begins with the name of its reader (`risk_positions`). One that several readers share, because the same code reads it
for all of them, has the name of what it shows (`recommendation_terms`). A view is a `Table` to whoever writes a query; its
definition here and the newest migration of it are the same, which a test compares.
"""

from schema.views import bridge, executor, monitor, orchestrator, risk, shared, signal
from schema.views.base import create_statement, readers_of, views

__all__ = [
    "bridge",
    "create_statement",
    "executor",
    "monitor",
    "orchestrator",
    "readers_of",
    "risk",
    "shared",
    "signal",
    "views",
]
