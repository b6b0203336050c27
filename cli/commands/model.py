"""`mesh model`: which models there are, what a challenger still lacks, and who decides from now on."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.commands.trading import NoteOption
from cli.console import guarded, out
from cli.exits import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from trading.signal.v1 import signal_service_pb2 as pb

app = typer.Typer(name="model", no_args_is_help=True, help="Champion and challenger: list, promote, roll back.")
_SECONDS = 30.0
_STYLES = {"CHAMPION": "bold green", "CHALLENGER": "yellow", "REFUSED": "red", "RETIRED": "dim"}
_RECENT = 5


@app.command("list")
@guarded
def list_models() -> None:
    """Show every model, its part, and the challenger's evidence so far."""
    from trading.signal.v1 import signal_service_pb2 as pb

    found: pb.ListModelsResponse = _ask(lambda stub: stub.ListModels(pb.ListModelsRequest(), timeout=_SECONDS))
    if not found.models:
        out.print("no model was ever loaded; `mesh train` makes one")
        return
    out.print(_table(found.models))
    for line in _folder_lines(found):
        out.print(line, style="yellow")
    for info in found.models:
        if info.HasField("evidence"):
            _print_evidence(info.model_version, info.evidence)
    for change in found.changes[:_RECENT]:
        out.print(_change_line(change), style="dim")


@app.command("promote")
@guarded
def promote_model(version: Annotated[str, typer.Argument(help="the challenger's version, as `list` shows it")]) -> None:
    """Make the challenger the champion, if its evidence suffices; in force at once."""
    from tradekit import ids
    from trading.signal.v1 import signal_service_pb2 as pb

    request = pb.PromoteModelRequest(request_id=str(ids.new_request_id()), model_version=version)
    answer: pb.PromoteModelResponse = _ask(lambda stub: stub.PromoteModel(request, timeout=_SECONDS))
    out.print(f"[green]{answer.change.model_version} decides[/]; before: {answer.change.previous_version}")
    out.print("`mesh model rollback` gives the place back")


@app.command("rollback")
@guarded
def roll_back_model(note: NoteOption = "rolled back by hand") -> None:
    """Give the place back to the champion before this one; in force at once."""
    from tradekit import ids
    from trading.signal.v1 import signal_service_pb2 as pb

    request = pb.RollbackModelRequest(request_id=str(ids.new_request_id()), note=note)
    answer: pb.RollbackModelResponse = _ask(lambda stub: stub.RollbackModel(request, timeout=_SECONDS))
    before, challenger = answer.change.previous_version, answer.challenger_version
    out.print(f"[green]{answer.change.model_version} decides again[/]; before: {before}")
    if challenger == before:
        out.print(f"{before} challenges: what it predicts from now on decides whether it can be promoted again")
    elif challenger:
        out.print(f"{challenger} goes on challenging; {before} has no part any more: a training makes a new model")
    else:
        out.print(f"{before} cannot be loaded and has no part any more: `mesh train` makes a new model")


def _ask(call: "Callable[[Any], Awaitable[Any]]") -> "Any":
    """One call of the signal service; a refusal prints its reason and what to do."""
    import grpc

    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from meshkit.errors import from_rpc_error
    from tradekit import services
    from trading.signal.v1 import signal_service_pb2_grpc as rpc

    async def talk(channel: grpc.aio.Channel) -> "Any":
        return await call(rpc.SignalServiceStub(channel))

    try:
        return ask(require_instance(mesh_home()), services.SIGNAL, talk)
    except grpc.aio.AioRpcError as error:
        refused = from_rpc_error(error)
        if refused.reason == "PROMOTION_REFUSED":
            said = refused.message.partition(": ")[0] if refused.metadata else refused.message
            lines = [f"{refused.reason}: {said}"]
            lines += [f"  {code}: {figures}" for code, figures in sorted(refused.metadata.items())]
            advice = "the champion goes on; `mesh model list` shows who challenges and what is missing"
            raise CommandFailed("\n".join(lines), advice) from None
        if refused.reason == "NOT_FOUND":
            advice = "`mesh model list` shows the versions, and the champion before this one if there is one"
            raise CommandFailed(f"{refused.reason}: {refused.message}", advice) from None
        raise


def _table(models: "Any") -> "Any":
    from rich.table import Table

    from cli.console import escape
    from trading.signal.v1 import signal_service_pb2 as pb

    table = Table(box=None, pad_edge=False)
    table.add_column("version", no_wrap=True)  # it has to be copied whole
    for column in ("part", "trained until", "evidence buys from", "folder"):
        table.add_column(column, overflow="fold")
    for info in models:
        part = pb.ModelRole.Name(info.role).removeprefix("MODEL_ROLE_")
        until = f"{info.train_end_time.ToDatetime():%Y-%m-%d %H:%M}" if info.HasField("train_end_time") else ""
        buys = "" if not until else "never" if info.always_hold else f"edge {info.theta_buy:.2f}"
        where = escape(info.folder) or "its files are gone: removed, or another was trained over them"
        if info.refusal_code:
            where += f" [red]{info.refusal_code}[/]: {escape(info.refusal_detail)}"
        table.add_row(escape(info.model_version), f"[{_STYLES[part]}]{part}[/]", until, buys, where)
    return table


def _folder_lines(found: "pb.ListModelsResponse") -> list[str]:
    """What has to be tidied up in the folder of models."""
    from cli.console import escape

    lines = []
    for info in found.models:
        if info.other_folders:
            others = ", ".join(info.other_folders)
            used = f"the one in {info.folder} is used" if info.folder else "what serves is from neither"
            lines.append(escape(f"{info.model_version} lies in {others} as well; {used}: remove what is not needed"))
    if found.folders_left_out:
        count = f"{found.folders_left_out} more folder{'s hold' if found.folders_left_out > 1 else ' holds'} a model"
        lines.append(f"{count} and {'were' if found.folders_left_out > 1 else 'was'} not looked at: remove old ones")
    return lines


def _print_evidence(version: str, evidence: "pb.ModelEvidence") -> None:
    from cli.console import escape

    if not evidence.HasField("shadow_since_time"):
        out.print(f"{escape(version)} has not predicted a bar yet")
        return
    since = evidence.shadow_since_time.ToDatetime()
    out.print(f"evidence since {since:%Y-%m-%d %H:%M}: {evidence.matured_labels} rows whose outcome is known")
    if evidence.matured_labels:
        _print_figures(evidence)
    for reason in evidence.missing:
        observed = f"{reason.observed} {reason.unit}".rstrip()
        out.print(f"  [yellow]missing[/] {reason.code}: {observed}, limit {reason.limit}")
    if not evidence.missing:
        out.print(f"  [green]nothing is missing[/]: mesh model promote {escape(version)}")


def _print_figures(evidence: "pb.ModelEvidence") -> None:
    rows = (
        ("log loss", f"{evidence.log_loss:.4f}", f"{evidence.champion_log_loss:.4f}"),
        ("net log return", f"{evidence.net_return:+.4f}", f"{evidence.champion_net_return:+.4f}"),
        ("changes of position", str(evidence.trades), str(evidence.champion_trades)),
    )
    for name, challenger, champion in rows:
        out.print(f"  {name}: challenger {challenger}, champion {champion}")
    out.print(f"  probability that its loss is lower: {evidence.probability_better:.3f}")
    out.print(f"  calibration error of up: {evidence.calibration_error:.4f}")


def _change_line(change: "pb.ModelChange") -> str:
    from cli.console import escape

    when = f"{change.change_time.ToDatetime():%Y-%m-%d %H:%M}"
    by = f" by {change.caller}" if change.caller else ""
    before = f", before: {change.previous_version}" if change.previous_version else ""
    return escape(f"{when} {change.kind} {change.model_version}{by}{before}; {change.note}")
