"""`mesh explain ID`: the whole story of a recommendation, a signal or an order, with every reason."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode

if TYPE_CHECKING:
    import grpc

_SECONDS = 5.0
_KINDS = ("recommendation_id", "signal_id", "order_id")
_STYLES = {
    "BUY": "green",
    "SELL": "magenta",
    "APPROVE": "green",
    "EXECUTED": "bold green",
    "FILLED": "green",
    "REDUCE": "yellow",
    "EXPIRED": "yellow",
    "SKIPPED": "yellow",
    "REJECT": "red",
    "REJECTED": "bold red",
    "FAILED": "bold red",
    "UNKNOWN": "bold red",
}


@guarded
def explain(
    id: Annotated[str, typer.Argument(help="UUID of a recommendation, a signal or an order")],
    facts: Annotated[bool, typer.Option("--facts", help="every figure of every step")] = False,
) -> None:
    """Tell the story of one decision, step by step."""
    from uuid import UUID

    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from tradekit import services

    try:
        wanted = str(UUID(id))
    except ValueError:
        raise CommandFailed(f"{id} is no UUID", "the page shows ids", ExitCode.USAGE) from None

    async def find(channel: "grpc.aio.Channel") -> Any:
        import grpc

        from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
        from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as rpc

        stub = rpc.OrchestratorServiceStub(channel)
        for kind in _KINDS:
            try:
                return await stub.ExplainRecommendation(
                    pb.ExplainRecommendationRequest(**{kind: wanted}), timeout=_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
        return None

    story = ask(require_instance(mesh_home()), services.ORCHESTRATOR, find)
    if story is None:
        message = f"nothing is stored under {wanted}: no recommendation, no signal, no order"
        raise CommandFailed(message, "check the id, and MESH_HOME for the instance you mean")
    _print(story, facts)


def _print(story: Any, facts: bool) -> None:
    from rich.table import Table

    from cli.console import escape

    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for name in ("market time", "stage", "outcome", "what happened"):
        table.add_column(name)
    for step in story.steps:
        when = f"{step.as_of.ToDatetime():%Y-%m-%d %H:%M}" if step.HasField("as_of") else ""
        lines = [escape(step.summary), *(f"[dim]· {escape(reason_text(reason))}[/]" for reason in step.reasons)]
        if facts:
            lines += [f"[dim]  {escape(name)} = {escape(step.facts[name])}[/]" for name in sorted(step.facts)]
        style = _STYLES.get(step.outcome, "default")
        table.add_row(when, step.stage, f"[{style}]{escape(step.outcome)}[/]", "\n".join(lines))
    out.print(table)
    out.print(f"\n[bold]{escape(story.verdict)}[/]")


def reason_text(reason: Any) -> str:
    """A reason with its figures in one line."""
    figures = [f"{name} {value}" for name, value in (("observed", reason.observed), ("limit", reason.limit)) if value]
    unit = f" {reason.unit}" if reason.unit and figures else ""
    scope = f" [{reason.scope}]" if reason.scope else ""
    return f"{reason.code}{scope}" + (f": {', '.join(figures)}{unit}" if figures else "")
