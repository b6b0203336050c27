"""Messages of the ledger ⇄ typed requests and rows. A refusal names every violation of a request at once."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from meshkit.fields import Fields
from svc_executor.account_store import Balance
from svc_executor.adjustment import Kind, Standing, sign_refusal
from svc_executor.fees import FeeView
from svc_executor.foreign import ForeignOrder
from svc_executor.ledger_store import Booked, StoredAdjustment
from tradekit.decimals import ZERO
from tradekit.units import QuoteSize
from tradekit.wire import amount_message, read_decimal, side_number, timestamp_message
from trading.common.v1 import decimal_pb2
from trading.executor.v1 import ledger_pb2 as pb

_CURRENCY = re.compile(r"[A-Z0-9]{1,12}")
_NUMBERS: dict[Kind, Any] = {kind: pb.AdjustmentKind.Value(f"ADJUSTMENT_KIND_{kind.value}") for kind in Kind}
_LONGEST_NOTE = 200
_MOST_COINS = 100


@dataclass(frozen=True, slots=True)
class Adjust:
    """A request for an adjustment; `expected` is the difference that was previewed, None for a preview."""

    request_id: UUID
    currency: str
    amount: Decimal
    kind: Kind
    note: str
    cost: QuoteSize | None
    expected: Decimal | None


def parse_adjust(request: pb.AdjustLedgerRequest) -> Adjust:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    currency = _currency(fields, "currency", request.currency)
    amount = read_decimal(fields, "amount", request.amount, present=request.HasField("amount"))
    asked = [kind for kind in Kind if kind is not Kind.ADOPTION]
    kind = fields.enum("kind", request.kind, pb.AdjustmentKind, "ADJUSTMENT_KIND", asked)
    note = fields.text("note", request.note, max_length=_LONGEST_NOTE)
    cost = _cost(fields, request)
    expected = _expected(fields, request)
    refusal = sign_refusal(kind, amount) if not fields.violations else None
    if refusal is not None:
        fields.violation(refusal.field, refusal.rule, refusal.description)
    fields.done()
    return Adjust(request_id, currency, amount, kind, note, cost, None if request.preview else expected)


def _currency(fields: Fields, name: str, text: str) -> str:
    fields.check(
        name, bool(_CURRENCY.fullmatch(text)), "PATTERN", f"is {text[:20]!r}; must be a code such as USD or BTC"
    )
    return text


def _expected(fields: Fields, request: pb.AdjustLedgerRequest) -> Decimal | None:
    if not request.HasField("expected_difference") and request.preview:
        return None
    name, difference = "expected_difference", request.expected_difference
    return read_decimal(fields, name, difference, present=bool(difference.value))


def _cost(fields: Fields, request: pb.AdjustLedgerRequest | pb.AdoptHoldingsRequest) -> QuoteSize | None:
    if not request.HasField("cost"):
        return None
    return QuoteSize(read_decimal(fields, "cost", request.cost, present=bool(request.cost.value), low=ZERO))


@dataclass(frozen=True, slots=True)
class Adopt:
    """A request to adopt; no currencies means all that are traded."""

    request_id: UUID
    currencies: tuple[str, ...]
    cost: QuoteSize | None
    note: str


def parse_adopt(request: pb.AdoptHoldingsRequest) -> Adopt:
    fields = Fields()
    request_id = fields.uuid("request_id", request.request_id)
    fields.repeated("currencies", request.currencies, high=_MOST_COINS)
    for index, name in enumerate(request.currencies):
        _currency(fields, f"currencies[{index}]", name)
    cost = _cost(fields, request)
    fields.check("cost", cost is None or len(request.currencies) == 1, "NOT_ALLOWED", "goes with one named coin only")
    note = fields.text("note", request.note, max_length=_LONGEST_NOTE)
    fields.done()
    return Adopt(request_id, tuple(sorted(set(request.currencies))), cost, note)


# ---- answers ---------------------------------------------------------------------------------------------------------


def balance_message(balance: Balance, foreign_change: Decimal = ZERO) -> pb.LedgerBalance:
    return pb.LedgerBalance(
        currency=balance.currency,
        own=amount_message(balance.ledger - balance.unadopted),
        unadopted=amount_message(balance.unadopted),
        exchange=amount_message(balance.exchange),
        difference=amount_message(balance.difference),
        tolerance=amount_message(balance.tolerance),
        agrees=balance.agrees,
        foreign_change=amount_message(foreign_change),
    )


def foreign_message(order: ForeignOrder) -> pb.ForeignOrder:
    return pb.ForeignOrder(
        exchange_order_id=order.exchange_order_id,
        client_order_id=order.client_order_id,
        product_id=order.product_id,
        side=side_number(order.side),
        status=order.status,
        resting=order.resting,
        hold=amount_message(order.hold),
        filled_size=amount_message(order.filled_size),
        filled_value=amount_message(order.filled_value),
        total_fees=amount_message(order.total_fees),
        create_time=timestamp_message(order.created_time),
        unbooked=order.unbooked,
    )


def adjustment_message(stored: StoredAdjustment) -> pb.LedgerAdjustment:
    """An adjustment; one that was only previewed has no time and no place."""
    message = pb.LedgerAdjustment(
        adjustment_id=str(stored.adjustment_id),
        kind=_NUMBERS[stored.kind],
        currency=stored.currency,
        amount=amount_message(stored.amount),
        cost=amount_message(stored.cost),
        equity_change=amount_message(stored.equity_change),
        note=stored.note,
        caller=stored.caller,
        booking_sequence=stored.booking_sequence,
    )
    if stored.created_at is not None:
        message.create_time.CopyFrom(timestamp_message(stored.created_at))
    return message


def change_message(before: Balance, after: Balance, was: Standing, becomes: Standing) -> pb.AdjustLedgerResponse:
    """What an adjustment changes, without the adjustment itself."""
    message = pb.AdjustLedgerResponse(before=balance_message(before), after=balance_message(after))
    if was.position.base_size != becomes.position.base_size:
        message.product_id = was.product_id or ""
        message.position_before.CopyFrom(amount_message(was.position.base_size))
        message.position_after.CopyFrom(amount_message(becomes.position.base_size))
    return message


def answer_of(booked: Booked) -> pb.AdjustLedgerResponse:
    """What a booked adjustment is answered with, however often it is asked for."""
    message = pb.AdjustLedgerResponse()
    message.CopyFrom(booked.answer)
    message.adjustment.CopyFrom(adjustment_message(booked.adjustment))
    return message


def fee_message(view: FeeView) -> pb.FeeTier:
    message = pb.FeeTier(
        maker=amount_message(view.maker),
        taker=amount_message(view.taker),
        tier=view.tier,
        observe_time=timestamp_message(view.observed_at),
        reckoned=amount_message(view.reckoned),
    )
    if view.setting is not None:
        message.setting.CopyFrom(amount_message(view.setting))
    return message


def money(currency: str, amount: Decimal) -> decimal_pb2.Money:
    return decimal_pb2.Money(currency=currency, amount=amount_message(amount))
