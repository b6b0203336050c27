"""Messages of the operator's calls at the executor ⇄ typed requests."""

from dataclasses import dataclass
from uuid import UUID

from meshkit.fields import Fields
from svc_executor.closing import Close
from svc_executor.protection_step import Held
from svc_executor.wire import protective_message
from tradekit.sizes import NO_BASE
from tradekit.states import TradingState
from tradekit.units import ProductId
from tradekit.wire import amount_message, enum_number, read_product_id
from trading.executor.v1 import executor_service_pb2 as pb
from trading.risk.v1 import risk_service_pb2 as risk_pb

LONGEST_NOTE = 200
_MOST_PRODUCTS = 100


@dataclass(frozen=True, slots=True)
class StateCall:
    """A turn of the switch."""

    request_id: UUID
    state: TradingState
    note: str
    only_tighten: bool = False


def parse_state(request: pb.SetTradingStateRequest) -> StateCall:
    fields = Fields()
    call = StateCall(
        request_id=fields.uuid("request_id", request.request_id),
        state=fields.enum("state", request.state, risk_pb.TradingState, "TRADING_STATE", TradingState),
        note=fields.text("note", request.note, max_length=LONGEST_NOTE),
        only_tighten=request.only_tighten,
    )
    wanted = request.state != risk_pb.TRADING_STATE_ACTIVE or not request.only_tighten
    fields.check("only_tighten", wanted, "NOT_ALLOWED", "is set; ACTIVE only loosens")
    fields.done()
    return call


def state_number(state: TradingState | None) -> risk_pb.TradingState:
    """The contract's trading state; unspecified for None."""
    number: risk_pb.TradingState = (
        risk_pb.TRADING_STATE_UNSPECIFIED
        if state is None
        else enum_number("TRADING_STATE", state, risk_pb.TradingState)
    )
    return number


@dataclass(frozen=True, slots=True)
class CancelCall:
    """Orders to cancel; no product and no order means all."""

    request_id: UUID
    product_id: ProductId | None
    order_id: UUID | None
    note: str


def parse_cancel(request: pb.CancelOrdersRequest) -> CancelCall:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    product_id = read_product_id(fields, "product_id", request.product_id) if request.product_id else None
    order_id = fields.uuid("order_id", request.order_id) if request.order_id else None
    note = fields.text("note", request.note, max_length=LONGEST_NOTE)
    fields.done()
    return CancelCall(request_id, product_id, order_id, note)


def parse_close(request: pb.ClosePositionsRequest) -> Close:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    named = tuple(dict.fromkeys(request.product_ids))
    count = len(request.product_ids)
    fields.check("product_ids", count <= _MOST_PRODUCTS, "LENGTH", f"has {count} items, allowed 0 to {_MOST_PRODUCTS}")
    products = tuple(
        read_product_id(fields, f"product_ids[{index}]", name) for index, name in enumerate(named[:_MOST_PRODUCTS])
    )
    note = fields.text("note", request.note, max_length=LONGEST_NOTE)
    fields.done()
    return Close(request_id, products, note)


def parse_protect(request: pb.ProtectPositionsRequest) -> UUID:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    fields.done()
    return request_id


def protection_message(held: Held) -> pb.PositionProtection:
    return pb.PositionProtection(
        product_id=held.product_id,
        held_size=amount_message(held.size),
        protected_size=amount_message(held.protected),
        unprotected_size=amount_message(max(held.unprotected, NO_BASE)),
        orders=[protective_message(one) for one in held.standing],
    )
