"""Puts the failures that a command can meet into words: what happened, and what the operator does about it."""

import grpc
from sqlalchemy.exc import DBAPIError

from cli.exits import CommandFailed, ExitCode
from cli.replay.lockstep import ReplayStalled
from cli.replay.options import ReplayRefused
from cli.steps import StepFailed
from meshkit.errors import InvalidRequest, MeshError, NotFound, OutcomeUnknown, Unavailable, from_rpc_error
from supervisor.home import HomeUnwritable
from supervisor.instance import AlreadyRunning
from supervisor.keys import UnsafeKey
from supervisor.ports import PortConflict
from supervisor.postgres_programs import PostgresFailed
from supervisor.unit import StartFailed

_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (AlreadyRunning, ExitCode.RUNNING),
    (PortConflict, ExitCode.USAGE),
    (UnsafeKey, ExitCode.USAGE),
    (ReplayRefused, ExitCode.USAGE),
    (ReplayStalled, ExitCode.FAILED),
    (StartFailed, ExitCode.FAILED),
    (StepFailed, ExitCode.FAILED),
    (PostgresFailed, ExitCode.FAILED),
)


def in_words(error: BaseException) -> CommandFailed | None:
    """The failure as words; None for a defect."""
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return in_words(error.exceptions[0])
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        error = from_rpc_error(error)
    if isinstance(error, MeshError):
        return of_mesh_error(error)
    if isinstance(error, HomeUnwritable):
        advice = "name a folder that you may write to with MESH_HOME, or make that one writable for this account"
        return CommandFailed(str(error), advice, ExitCode.USAGE)
    if isinstance(error, DBAPIError):
        return CommandFailed(f"the database refused: {error.orig}", "run `mesh doctor`")
    for kind, code in _CODES:
        if isinstance(error, kind):
            return CommandFailed(str(error), code=code)
    return None


def of_mesh_error(error: MeshError) -> CommandFailed:
    """A service's refusal with its reason and every broken field."""
    lines = [f"{error.reason}: {error.message}"]
    lines += [f"  {broken.field}: {broken.description} ({broken.rule})" for broken in error.violations]
    code = ExitCode.USAGE if error.reason == "MARKET_SIMULATED" else ExitCode.FAILED
    return CommandFailed("\n".join(lines), _advice(error), code)


def _advice(error: MeshError) -> str:
    if isinstance(error, InvalidRequest):
        return "mend what is named above and ask again"
    if isinstance(error, NotFound):
        return "check the id; `mesh status` shows whether this is the instance you mean"
    if isinstance(error, OutcomeUnknown):
        return "nobody knows yet whether it happened; look with `mesh status` before you repeat it"
    if isinstance(error, Unavailable) or error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "the service does not answer; `mesh status` shows which are up, `mesh restart SERVICE` starts one anew"
    if error.reason == "MARKET_SIMULATED":
        return (
            "trade recorded candles with `mesh up --market replay:FILE` in a MESH_HOME of their own, "
            "or say --into-simulated if you want the mixture"
        )
    if error.reason == "INTERNAL":
        return "this is a defect; the service's log has it under the id above"
    return ""
