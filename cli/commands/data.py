"""`mesh data delete`: removes stored candles that are wrong, after showing which; who and why are recorded."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import guarded, out, require_yes

if TYPE_CHECKING:
    import grpc

app = typer.Typer(name="data", help="Candles that are stored.", no_args_is_help=True)
_SECONDS = 60.0


@app.callback()
def data() -> None:
    """Candles that are stored."""


@app.command()
@guarded
def delete(
    product: Annotated[str, typer.Argument(help="such as BTC-USD")],
    begin: Annotated[str, typer.Option("--from", help="first bar, such as 2025-01-01 or 2025-01-01T06:00Z")],
    end: Annotated[str, typer.Option("--to", help="bars before this")],
    note: Annotated[str, typer.Option(help="why, for the record")],
    granularity: Annotated[str, typer.Option(help="such as 1h; the mesh's own, if not given")] = "",
    source: Annotated[str, typer.Option(help="only candles of this source, such as file:candles.csv")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="delete what is found without asking")] = False,
) -> None:
    """Delete stored candles that are wrong. They are shown first, and kept in a record; decisions made on them stay."""
    from cli.calls import ask, require_instance
    from cli.instance_file import mesh_home
    from tradekit import services

    request = _request(product, begin, end, note, granularity, source)
    instance = require_instance(mesh_home())
    found = ask(instance, services.MARKET, lambda channel: _send(channel, request))
    _show(request.product_id, found)
    if found.count == 0:
        return
    require_yes(f"Delete {found.count:,} candles?", "nothing was deleted", yes)
    request.expected_count = found.count
    gone = ask(instance, services.MARKET, lambda channel: _send(channel, request))
    out.print(f"[green]deleted[/] {gone.count:,} candles; the record is candle_deletions {request.request_id}")
    out.print("The market service asks the exchange for them again where it follows the product. What was read of them")
    out.print("before goes on being used until svc_signal is started again.")


def _request(product: str, begin: str, end: str, note: str, granularity: str, source: str) -> Any:
    from google.protobuf.timestamp_pb2 import Timestamp

    from cli.candle_file import granularity_option
    from cli.replay.options import parse_day
    from tradekit import ids
    from trading.market.v1 import market_service_pb2 as pb

    first, last = Timestamp(), Timestamp()
    first.FromDatetime(parse_day(begin, "--from"))
    last.FromDatetime(parse_day(end, "--to"))
    return pb.DeleteCandlesRequest(
        request_id=str(ids.new_request_id()),
        product_id=product.strip().upper(),
        granularity=granularity_option(granularity),
        start_time=first,
        end_time=last,
        source=source,
        note=note,
    )


async def _send(channel: "grpc.aio.Channel", request: Any) -> Any:
    from trading.market.v1 import market_service_pb2_grpc as rpc

    return await rpc.MarketServiceStub(channel).DeleteCandles(request, timeout=_SECONDS)


def _show(product_id: str, found: Any) -> None:
    from datetime import UTC

    if found.count == 0:
        out.print(f"no candle of {product_id} is stored in that period")
        return
    first, last = (moment.ToDatetime(UTC) for moment in (found.first_start_time, found.last_start_time))
    text = f"{found.count:,} candles of {product_id} from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"
    out.print(f"{text}, from {', '.join(found.sources)}", markup=False, soft_wrap=True)
