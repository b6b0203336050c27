"""Messages ⇄ domain types of the signal service."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from meshkit import paging
from meshkit.fields import Fields
from svc_signal.stored_signal import StoredSignal
from tradekit import wire
from tradekit.bars import is_on_grid
from tradekit.products import is_product_id
from tradekit.states import SignalSide
from trading.signal.v1 import signal_service_pb2 as pb

MOST_PRODUCTS = 1000


@dataclass(frozen=True, slots=True)
class GenerateOrder:
    """A parsed GenerateSignalsRequest; empty products means all, no as_of means the newest bar."""

    request_id: UUID
    product_ids: tuple[str, ...]
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class SignalFilter:
    """A parsed ListSignalsRequest; `before` is as_of, product and id of the last row shown."""

    product_id: str | None
    side: SignalSide | None
    page_size: int
    before: tuple[datetime, str, UUID] | None


def parse_generate(message: pb.GenerateSignalsRequest, followed: tuple[str, ...], granularity: int) -> GenerateOrder:
    """The order, or InvalidRequest with every violation."""
    fields = Fields()
    request_id = fields.uuid("request_id", message.request_id)
    fields.repeated("product_ids", message.product_ids, high=MOST_PRODUCTS)
    for index, product in enumerate(message.product_ids[:MOST_PRODUCTS]):
        known = product in followed
        fields.check(
            f"product_ids[{index}]",
            known,
            "UNKNOWN_PRODUCT",
            f"is {product[:40]!r}; followed are {', '.join(followed)}",
        )
    as_of = wire.read_time(fields, "as_of", message.as_of, present=message.HasField("as_of"), required=False)
    if as_of is not None:
        on_grid = is_on_grid(as_of, granularity)
        fields.check("as_of", on_grid, "OFF_GRID", f"is {as_of}; must be the close of a bar of {granularity} s")
    fields.done()
    return GenerateOrder(request_id, tuple(dict.fromkeys(message.product_ids)), as_of)


def parse_get(message: pb.GetSignalRequest) -> UUID:
    """The signal's id."""
    fields = Fields()
    found = fields.uuid("signal_id", message.signal_id)
    fields.done()
    return found


def parse_list(message: pb.ListSignalsRequest) -> SignalFilter:
    """The filter and page."""
    fields = Fields()
    product = wire.read_product_id(fields, "product_id", message.product_id) if message.product_id else None
    side = None
    if message.side:
        side = fields.enum("side", message.side, pb.SignalSide, "SIGNAL_SIDE", SignalSide)
    page = fields.page(message.page_size, message.page_token, default=100, maximum=1000, scope=_scope(message))
    before = fields.parse("page_token", page.position, _position, None, "INVALID_POSITION") if page.position else None
    fields.done()
    return SignalFilter(product, side, page.size, before)


def page_token(message: pb.ListSignalsRequest, last: StoredSignal) -> str:
    """Token of the page after a signal."""
    position = {"as_of": last.shared.as_of.isoformat(), "product": last.product_id, "id": last.signal_id}
    return paging.encode(position, _scope(message))


def _scope(message: pb.ListSignalsRequest) -> str:
    return f"signals|{message.product_id}|{message.side}"


def _position(position: Mapping[str, str | int]) -> tuple[datetime, str, UUID]:
    if position.keys() != {"as_of", "product", "id"}:
        raise ValueError("page token has another form")
    as_of = datetime.fromisoformat(str(position["as_of"]))
    if as_of.tzinfo is None:
        raise ValueError("page token holds a time without its zone")
    if not is_product_id(str(position["product"])):
        raise ValueError("page token names no product")
    return as_of, str(position["product"]), UUID(str(position["id"]))
