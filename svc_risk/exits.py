"""How much of a SELL is allowed: what is held and not already on its way out, the whole of it if the rest were dust.

No volatility, heat, drawdown or cooldown: getting out must stay possible. Only the exchange's own minimum stops a size.
"""

from decimal import Decimal

from svc_risk.limits import Case
from svc_risk.sizing import Sizing, least_notional
from svc_risk.verdict import Kind, Verdict
from tradekit import exits
from tradekit.decimals import ZERO
from tradekit.products import Product
from tradekit.reasons import shown


def free_base(case: Case) -> Decimal:
    """Base units held that no open or UNKNOWN order is about to sell.

    What other exits reserved is not taken off: a reservation may never become an order, and then nothing could be sold
    before it ran out. That no more is sold than is held is looked at where the order is written down.
    """
    holding = case.holding
    return max(holding.base_size - holding.open_sell_base, ZERO)


def exit_size(case: Case) -> Sizing:
    """The size, floored to the product's grid, with what shaped it."""
    product, free = case.snapshot.product, free_base(case)
    if product is None:
        return Sizing(ZERO)
    held = _cap_at_held(case, free)
    found = exits.exit_size(case.request.size, free, product.base_increment, case.holding.mark, least_notional(case))
    if found.dust_value:
        return Sizing(found.size, (_dust_closed(case, found.dust_value),))
    return Sizing(found.size, () if held.passed else (held,))


def sell_not_held(case: Case) -> Verdict:
    """Something is held and not already reserved."""
    free = free_base(case)
    return Verdict(
        "SELL_NOT_HELD", Kind.REJECT, free > 0, shown(case.request.size), shown(free), "base", case.product_scope
    )


def exchange_minimum(case: Case, size: Decimal, product: Product) -> Verdict:
    """The exchange takes an order this small."""
    mark = case.holding.mark
    if mark is not None and size >= product.base_min_size:
        worth, limit = size * mark, product.quote_min_size
        figure = shown(worth.quantize(Decimal("0.01")))
        return Verdict("MIN_NOTIONAL", Kind.REJECT, worth >= limit, shown(limit), figure, "usd", "request")
    limit = product.base_min_size
    return Verdict("MIN_NOTIONAL", Kind.REJECT, 0 < size >= limit, shown(limit), shown(size), "base", "request")


def _cap_at_held(case: Case, free: Decimal) -> Verdict:
    scope = case.product_scope
    wanted = case.request.size
    return Verdict("SELL_NOT_HELD", Kind.CAP, wanted <= free, shown(free), shown(wanted), "base", scope, free)


def _dust_closed(case: Case, rest: Decimal) -> Verdict:
    limit, figure = shown(least_notional(case)), shown(rest.quantize(Decimal("0.01")))
    return Verdict("DUST_CLOSED", Kind.FLAG, False, limit, figure, "usd", case.product_scope)
