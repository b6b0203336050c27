"""How much of a SELL is allowed: what is held and not already on its way out, the whole of it if the rest were dust.

No volatility, heat, drawdown or cooldown: getting out must stay possible. Only the exchange's own minimum stops a size.
"""

from decimal import Decimal
from typing import Any

from svc_risk.case import Case
from svc_risk.rule import Effect, Finding, Limit, Rule, Verdict
from svc_risk.sizing import LEAST_NOTIONAL, Sizing
from tradekit import exits
from tradekit.decimals import ZERO
from tradekit.exits import ExitSize
from tradekit.reasons import shown

REJECT, CAP, FLAG, NONE = Effect.REJECT, Effect.CAP, Effect.FLAG, Effect.NONE
_CENTS = Decimal("0.01")


def _free_base(case: Case) -> Decimal:
    """Base units held that no open or UNKNOWN order is about to sell.

    What other exits reserved is not taken off: a reservation may never become an order, and then nothing could be sold
    before it ran out. That no more is sold than is held is looked at where the order is written down.
    """
    holding = case.holding
    return max(holding.base_size - holding.open_sell_base, ZERO)


SELL_NOT_HELD = Rule(
    "SELL_NOT_HELD",
    "less than asked is held and free; where nothing is, the exit is refused",
    Limit(_free_base, lambda p, _: "max(0, base_size - open_sell_base)"),
    unit="base",
    scope="product",
    on_buy=NONE,
    on_sell=CAP,
    check=lambda case, limit: Finding(case.request.size <= limit, shown(case.request.size), limit),
)


def _least_value(case: Case) -> Decimal:
    product = case.snapshot.product
    return product.quote_min_size if product else ZERO


def _least_size(case: Case) -> Decimal:
    product = case.snapshot.product
    return product.base_min_size if product else ZERO


def _worth(case: Case, limit: Decimal) -> Finding:
    worth = case.size * (case.holding.mark or ZERO)
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
    check=lambda case, limit: Finding(0 < case.size >= limit, shown(case.size)),
)


def _planned(case: Case, least_notional: Decimal) -> ExitSize:
    product, free = case.snapshot.product, _free_base(case)
    if product is None:
        return ExitSize(ZERO)
    return exits.exit_size(case.request.size, free, product.base_increment, case.holding.mark, least_notional)


def _nothing_left(case: Case, limit: Decimal) -> Finding:
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


def exit_size(case: Case) -> Sizing:
    """The size, floored to the product's grid, with what shaped it."""
    dust, held = DUST_CLOSED.verdict(case), SELL_NOT_HELD.verdict(case)
    shaped = [held] if dust.passed else [dust]
    size = _planned(case, LEAST_NOTIONAL.of(case)).size
    return Sizing(size, tuple(verdict for verdict in shaped if not verdict.passed))


def exit_obstacles(case: Case) -> list[Verdict]:
    """Nothing held, or `case.size` too little for the exchange; the second is not told where the first explains it."""
    held, product = SELL_NOT_HELD.verdict(case), case.snapshot.product
    if not held.allows:
        return [held]
    if product is None:
        return []
    priced = case.holding.mark is not None and case.size >= product.base_min_size
    enough = (EXIT_MIN_VALUE if priced else EXIT_MIN_SIZE).verdict(case)
    return [] if enough.passed else [enough]
