"""Turns whatever a handler raised into the error its caller may see.

A MeshError passes, a database outage becomes UNAVAILABLE, anything else becomes INTERNAL with an error id: its text,
which may hold secrets, stays in the log.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from meshkit import database
from meshkit.errors import Internal, MeshError


def translate(error: BaseException, log: Any, **where: object) -> MeshError:
    """The error for the caller; a defect is logged here with its traceback."""
    error = _foremost(error)
    if isinstance(error, MeshError):
        return error
    outage = database.as_unavailable(error)
    if outage is not None:
        log.warning("database_unavailable", error=type(error).__name__, **where)
        return outage
    error_id = secrets.token_hex(6)
    log.error("internal_error", error_id=error_id, error=type(error).__name__, exc_info=error, **where)
    return Internal(error_id)


def _foremost(error: BaseException) -> BaseException:
    """Of tasks that failed together one: a defect if there is any; otherwise the first says as much as the others, such as that
    the database is away."""
    failed = list(_each(error))
    defects = (one for one in failed if not isinstance(one, MeshError) and database.as_unavailable(one) is None)
    return next(defects, failed[0])


def _each(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _each(one)
    else:
        yield error
