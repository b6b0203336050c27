"""The ledger in words: what differs from the exchange, whose order did it, what was never adopted, and what to type."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tradekit.decimals import plain

if TYPE_CHECKING:
    from trading.executor.v1 import ledger_pb2 as pb

# GetLedger tells no more than this of what was adjusted, the newest first.
MOST_ADJUSTMENTS = 50


@dataclass(frozen=True, slots=True)
class LedgerWords:
    """One line each; every tuple is empty where there is nothing to say. `differences` close entries."""

    differences: tuple[str, ...]
    foreign: tuple[str, ...]
    unadopted: tuple[str, ...]
    fees: tuple[str, ...]
    reconciled: bool
    foreign_ids: tuple[str, ...] = ()


def words_of(answer: "pb.GetLedgerResponse") -> LedgerWords:
    """What is to be said of the ledger."""
    return LedgerWords(
        differences=tuple(difference(one) for one in answer.balances if not one.agrees),
        foreign=tuple(foreign(one) for one in answer.foreign_orders),
        unadopted=tuple(
            f"{one.unadopted.value} {one.currency}" for one in answer.balances if one.unadopted.value != "0"
        ),
        fees=fees(answer),
        reconciled=answer.HasField("reconcile_time"),
        foreign_ids=tuple(one.exchange_order_id for one in answer.foreign_orders),
    )


def difference(balance: "pb.LedgerBalance") -> str:
    """What one currency differs by, and whether orders of others explain it."""
    ledger = plain(Decimal(balance.own.value) + Decimal(balance.unadopted.value))
    off = Decimal(balance.difference.value)
    word = "less" if off > 0 else "more"
    text = f"{balance.currency}: the exchange has {balance.exchange.value}, {plain(abs(off))} {word} than the ledger's {ledger}"
    moved = Decimal(balance.foreign_change.value)
    rest = off + moved
    if moved and not rest:
        return f"{text}; orders of others explain it"
    return f"{text}; orders of others explain {plain(moved)} of it" if moved else text


def foreign(order: "pb.ForeignOrder") -> str:
    """An order that this mesh did not make."""
    base, _, quote = order.product_id.partition("-")
    side = "BUY" if order.side == 1 else "SELL"
    parts = [f"{side} {order.product_id} {order.exchange_order_id}, made by another key or by hand"]
    if order.unbooked:
        filled = f"filled {order.filled_size.value} {base} for {order.filled_value.value} {quote}"
        parts.append(f"{filled}, fee {order.total_fees.value}")
    if order.resting:
        parts.append(f"rests ({order.status}) and holds {order.hold.value} {quote if side == 'BUY' else base}")
    return "; ".join(parts)


def fees(answer: "pb.GetLedgerResponse") -> tuple[str, ...]:
    """Where TAKER_FEE is set and is not what the exchange charges."""
    tier = answer.fee_tier
    if not answer.HasField("fee_tier") or not tier.HasField("setting"):
        return ()
    if Decimal(tier.setting.value) == Decimal(tier.taker.value):
        return ()
    return (
        f"TAKER_FEE is {tier.setting.value}, the exchange charges {tier.taker.value}; reckoned with {tier.reckoned.value}",
    )


def commands(answer: "pb.GetLedgerResponse") -> tuple[str, ...]:
    """What to type to book each difference; the kind and the note are the operator's to say."""
    traded = {name for order in answer.foreign_orders if order.unbooked for name in order.product_id.split("-")}
    found = []
    for one in answer.balances:
        if one.agrees:
            continue
        amount = -Decimal(one.difference.value)
        kind = "trade" if one.currency in traded else "deposit" if amount > 0 else "withdrawal"
        found.append(f'mesh ledger adjust {one.currency} {plain(amount)} --kind {kind} --note "…"')
    return tuple(found)


def joined(lines: Sequence[str]) -> str:
    """Several lines as one."""
    return "; ".join(lines)
