"""What a caller sees of tasks that failed together: one outage, however many met it, and a defect before all else."""

import asyncpg
import pytest
import structlog

from meshkit.errors import InvalidRequest, MeshError, Unavailable, Violation
from meshkit.translate import translate

AWAY = asyncpg.InterfaceError("the connection is closed")
BUSY = Unavailable("DEPENDENCY_UNAVAILABLE", "the exchange did not answer")
WRONG = InvalidRequest([Violation("size", "ABOVE_ZERO", "must be above 0")])


def seen(error: BaseException) -> MeshError:
    return translate(error, structlog.get_logger())


@pytest.mark.parametrize(
    "error",
    [
        AWAY,
        # As the driver says it of a server that was killed in the middle of its answer.
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress"),
        ExceptionGroup("one order", [AWAY]),
        ExceptionGroup("two orders", [AWAY, BUSY]),
        ExceptionGroup("two orders and one of several", [ExceptionGroup("two", [BUSY, AWAY]), AWAY]),
    ],
)
def test_an_outage_that_several_tasks_met_is_an_outage(error: BaseException) -> None:
    assert isinstance(seen(error), Unavailable)


def test_of_several_refusals_the_first_is_told() -> None:
    assert seen(ExceptionGroup("two", [WRONG, BUSY])) is WRONG


@pytest.mark.parametrize("beside", [AWAY, BUSY, WRONG])
def test_a_defect_is_told_before_what_failed_beside_it(beside: Exception) -> None:
    assert seen(ExceptionGroup("two", [beside, ZeroDivisionError("secret")])).reason == "INTERNAL"
