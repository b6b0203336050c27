"""`mesh halt` and `mesh resume`: the operator's switch at the risk engine, in force when the command returns."""

from typing import Annotated

import typer

from cli.console import guarded, out

NoteOption = Annotated[str, typer.Option(help="why, for the record")]
_SECONDS = 5.0


@guarded
def halt(
    note: NoteOption = "halted by hand",
    reducing: Annotated[bool, typer.Option("--reducing", help="exits go on, entries stop")] = False,
) -> None:
    """Stop trading at once; nothing is bought or sold until `mesh resume`."""
    _switch("REDUCING" if reducing else "HALTED", note, release_locks=False)


@guarded
def resume(
    note: NoteOption = "resumed by hand",
    release_locks: Annotated[
        bool, typer.Option("--release-locks", help="also end locks that wait for an operator, such as DRAWDOWN")
    ] = False,
) -> None:
    """Trade again."""
    _switch("ACTIVE", note, release_locks)


def _switch(state: str, note: str, release_locks: bool) -> None:
    import grpc

    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from tradekit import ids, services
    from trading.risk.v1 import risk_service_pb2 as pb
    from trading.risk.v1 import risk_service_pb2_grpc as rpc

    request = pb.SetTradingStateRequest(
        request_id=str(ids.new_request_id()),
        state=f"TRADING_STATE_{state}",
        note=note,
        release_locks=release_locks,
    )

    async def turn(channel: grpc.aio.Channel) -> pb.SetTradingStateResponse:
        answer: pb.SetTradingStateResponse = await rpc.RiskServiceStub(channel).SetTradingState(
            request, timeout=_SECONDS
        )
        return answer

    answer = ask(require_instance(mesh_home()), services.RISK, turn)
    now, before = (pb.TradingState.Name(one)[14:] for one in (answer.state, answer.previous_state))
    released = f"; {answer.released_locks} lock(s) released" if release_locks else ""
    style = "green" if now == "ACTIVE" else "bold red"
    out.print(f"trading is [{style}]{now}[/] (was {before}){released}")
