"""Turns whatever a handler raised into the error its caller may see.

A MeshError passes, a database outage becomes UNAVAILABLE, anything else becomes INTERNAL with an error id: its text,
which may hold secrets, stays in the log.
"""

from __future__ import annotations

import secrets
from typing import Any

from meshkit import database
from meshkit.errors import Internal, MeshError


def translate(error: BaseException, log: Any, **where: object) -> MeshError:
    """The error for the caller; a defect is logged here with its traceback."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a task group whose one task failed says no more than that task
    if isinstance(error, MeshError):
        return error
    outage = database.as_unavailable(error)
    if outage is not None:
        log.warning("database_unavailable", error=type(error).__name__, **where)
        return outage
    error_id = secrets.token_hex(6)
    log.error("internal_error", error_id=error_id, error=type(error).__name__, exc_info=error, **where)
    return Internal(error_id)
