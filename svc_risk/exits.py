"""How much of a SELL is allowed: what is held and not already on its way out, the whole of it if the rest were dust.

No volatility, heat, drawdown or cooldown: getting out must stay possible. Only the exchange's own minimum stops a size.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from svc_risk.case import Case
from svc_risk.rule import Effect, Finding, Limit, Rule, Verdict
from svc_risk.sizing import LEAST_NOTIONAL
from tradekit import exits
from tradekit.exits import ExitSize
from tradekit.reasons import shown
from tradekit.sizes import NO_BASE, NO_PRICE, NO_QUOTE
from tradekit.units import BaseSize, QuoteSize

REJECT, CAP, FLAG, NONE = Effect.REJECT, Effect.CAP, Effect.FLAG, Effect.NONE
_CENTS = Decimal("0.01")


def _free_base(case: Case) -> BaseSize:
    """What is held that no open or UNKNOWN order is about to sell; one that protects the position gives way to an exit.

    What other exits reserved is not taken off: a reservation may never become an order, and then nothing could be sold
    before it ran out. That no more is sold than is held is looked at where the order is written down.
    """
    holding = case.holding
    return max(holding.base_size - holding.open_sell_base, NO_BASE)


SELL_NOT_HELD = Rule(
    "SELL_NOT_HELD",
    "less than asked is held and free; where nothing is, the exit is refused",
    Limit(_free_base, lambda p, _: "max(0, base_size - open_sell_base)"),
    unit="base",
    scope="product",
    on_buy=NONE,
    on_sell=CAP,
    check=lambda case, limit: Finding(case.request.base_size <= limit, shown(case.request.base_size)),
)


def _least_value(case: Case) -> QuoteSize:
    product = case.snapshot.product
    return product.quote_min_size if product else NO_QUOTE


def _least_size(case: Case) -> BaseSize:
    product = case.snapshot.product
    return product.base_min_size if product else NO_BASE


def _worth(case: Case, limit: QuoteSize) -> Finding:
    worth = case.base_size * (case.holding.mark or NO_PRICE)
    return Finding(worth >= limit, shown(worth.quantize(_CENTS)))


EXIT_MIN_VALUE = Rule(
    "MIN_NOTIONAL",
    "what is to be sold is worth less than the exchange's smallest order",
    Limit(_least_value, lambda p, _: "quote_min_size"),
    unit="usd",
    scope="request",
    on_buy=NONE,
    on_sell=REJECT,
    check=_worth,
)
EXIT_MIN_SIZE = Rule(
    "MIN_NOTIONAL",
    "what is to be sold is smaller than the exchange's smallest size",
    Limit(_least_size, lambda p, _: "base_min_size"),
    unit="base",
    scope="request",
    on_buy=NONE,
    on_sell=REJECT,
    check=lambda case, limit: Finding(0 < case.base_size >= limit, shown(case.base_size)),
)


def _planned(case: Case, least_notional: QuoteSize) -> ExitSize:
    product, free = case.snapshot.product, _free_base(case)
    if product is None:
        return ExitSize(NO_BASE)
    return exits.exit_size(case.request.base_size, free, product.base_increment, case.holding.mark, least_notional)


def _nothing_left(case: Case, limit: QuoteSize) -> Finding:
    rest = _planned(case, limit).dust_value
    return Finding(not rest, shown(rest.quantize(_CENTS)))


DUST_CLOSED = Rule(
    "DUST_CLOSED",
    "the exit was enlarged, so that no unsellable rest worth less than this stays",
    LEAST_NOTIONAL,
    unit="usd",
    scope="product",
    on_buy=NONE,
    on_sell=FLAG,
    check=_nothing_left,
)

EXIT_RULES: tuple[Rule[Any], ...] = (SELL_NOT_HELD, EXIT_MIN_VALUE, EXIT_MIN_SIZE, DUST_CLOSED)


@dataclass(frozen=True, slots=True)
class ExitSizing:
    """What may be sold, floored to the product's grid, with what shaped it."""

    size: BaseSize
    binding: tuple[Verdict, ...]


def exit_size(case: Case) -> ExitSizing:
    """How much of the exit is allowed."""
    dust, held = DUST_CLOSED.verdict(case), SELL_NOT_HELD.verdict(case)
    shaped = [held] if dust.passed else [dust]
    size = _planned(case, LEAST_NOTIONAL.of(case)).size
    return ExitSizing(size, tuple(verdict for verdict in shaped if not verdict.passed))


def exit_obstacles(case: Case) -> list[Verdict]:
    """Nothing held, or `case.base_size` too little for the exchange; the second is not told where the first explains it."""
    product = case.snapshot.product
    if not _free_base(case):
        return [SELL_NOT_HELD.verdict(case)]
    if product is None:
        return []
    priced = case.holding.mark is not None and case.base_size >= product.base_min_size
    enough = (EXIT_MIN_VALUE if priced else EXIT_MIN_SIZE).verdict(case)
    return [] if enough.passed else [enough]
