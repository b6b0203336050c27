"""`mesh cancel ID`: a recommendation is not carried out; an order of it that rests at the exchange is cancelled there."""

from typing import Annotated, Any

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode

_SECONDS = 5.0
_TELLS = {
    "CANCELLED": "[green]cancelled[/]: no order is made for it; it ends REJECTED with CANCELLED_BY_OPERATOR",
    "ALREADY_ENDED": "[yellow]it had ended before[/]: {state}; `mesh explain` tells why",
}


@guarded
def cancel(
    id: Annotated[str, typer.Argument(help="UUID of a recommendation")],
    note: Annotated[str, typer.Option(help="why, for the record")] = "cancelled by hand",
) -> None:
    """Do not carry out a recommendation, and cancel its order if it has one. Exit code 1 where something was done already, or
    is not known to be cancelled."""
    from uuid import UUID

    from cli.calls import ask, require_instance
    from cli.commands.trading import show
    from cli.instance_file import mesh_home
    from cli.way_out import run_cancel
    from tradekit import ids, services
    from trading.common.v1 import recommendation_pb2
    from trading.orchestrator.v1 import orchestrator_service_pb2 as pb
    from trading.orchestrator.v1 import orchestrator_service_pb2_grpc as rpc

    try:
        wanted = str(UUID(id))
    except ValueError:
        raise CommandFailed(f"{id} is no UUID", "the page shows ids", ExitCode.USAGE) from None
    request = pb.CancelRecommendationRequest(request_id=str(ids.new_request_id()), recommendation_id=wanted, note=note)

    async def send(channel: Any) -> Any:
        return await rpc.OrchestratorServiceStub(channel).CancelRecommendation(request, timeout=_SECONDS)

    answer = ask(require_instance(mesh_home()), services.ORCHESTRATOR, send)
    result = pb.CancelRecommendationResult.Name(answer.result).removeprefix("CANCEL_RECOMMENDATION_RESULT_")
    state = recommendation_pb2.RecommendationState.Name(answer.record.state).removeprefix("RECOMMENDATION_STATE_")
    recommendation = answer.record.recommendation
    if answer.result == pb.CANCEL_RECOMMENDATION_RESULT_ORDER_GOES_ON:
        receipt = run_cancel(answer.order_id, note)
        show(receipt)
        if any(line.kind != "plain" for line in receipt.lines):
            raise typer.Exit(1)
        return
    out.print(f"{recommendation.product_id}: " + _TELLS[result].format(state=state))
    if answer.result != pb.CANCEL_RECOMMENDATION_RESULT_CANCELLED:
        raise typer.Exit(1)
