"""How much an exit may sell: at most what was asked for, what the ledger holds and what the exchange has free.

The executor is the judge of exits: it knows what is held, so nobody else's word is needed to get out.
"""

from exchange_client import ExchangeProduct
from meshkit.errors import FailedPrecondition
from svc_executor.holding import Holding
from tradekit.decimals import plain
from tradekit.exits import exit_size, is_dust
from tradekit.sizes import NO_BASE
from tradekit.units import BaseSize


def reduce_only(wanted: BaseSize, holding: Holding, available: BaseSize | None, product: ExchangeProduct) -> BaseSize:
    """What to sell, on the grid. NOT_HELD where there is nothing to sell; NOTHING_AVAILABLE where there is and it
    cannot be had now. `available` None: the exchange did not say."""
    name = product.base_currency
    if holding.held <= 0:
        raise FailedPrecondition("NOT_HELD", f"the ledger holds no {name}; there is nothing to sell")
    ours = exit_size(wanted, holding.held, product.base_increment, holding.price, product.quote_min_size).size
    if ours < product.base_min_size or ours <= 0:
        raise FailedPrecondition(
            "NOT_HELD",
            f"{plain(min(wanted, holding.held))} {name} is less than the exchange's smallest order of "
            f"{plain(product.base_min_size)}",
        )
    free = holding.free if available is None else min(holding.free, available)
    size = exit_size(wanted, free, product.base_increment, holding.price, product.quote_min_size).size
    if size < product.base_min_size or size <= 0:
        told = "not told" if available is None else plain(available)
        raise FailedPrecondition(
            "NOTHING_AVAILABLE",
            f"the ledger holds {plain(holding.held)} {name}, {plain(holding.selling)} of it in open sell orders; free at "
            f"the exchange: {told}. See what moved or holds it: mesh ledger show",
            {"held": plain(holding.held), "selling": plain(holding.selling), "available": told},
        )
    return size


def left_to_sell(wanted: BaseSize, size: BaseSize, holding: Holding, product: ExchangeProduct) -> BaseSize:
    """What of `wanted` is held and an order of `size` does not sell; none where the exchange takes no order of so little."""
    whole = exit_size(wanted, holding.held, product.base_increment, holding.price, product.quote_min_size).size
    rest = whole - size
    small = is_dust(rest, holding.price, product.base_increment, product.base_min_size, product.quote_min_size)
    return NO_BASE if small or rest <= 0 else rest
