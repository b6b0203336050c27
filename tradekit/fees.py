"""Which taker fee is reckoned with, where a setting and the exchange's own tier are known.

A setting that nobody made follows the exchange. One that was made is a floor: reckoning with less than the exchange charges
would let losses pass as gains, and reckoning with more is an operator's caution. A setting below the exchange's fee is an
alert (FEE_TIER_DIFFERS).
"""

from decimal import Decimal

DEFAULT_TAKER_FEE = Decimal("0.009")
DEFAULT_MAKER_FEE = Decimal("0.005")
"""Both of the exchange's first tier."""


def reckoned_taker_fee(setting: Decimal | None, exchange: Decimal | None) -> Decimal:
    """Share of the value. `setting` is None where TAKER_FEE is unset, `exchange` until it was read."""
    if exchange is None:
        return DEFAULT_TAKER_FEE if setting is None else setting
    return exchange if setting is None else max(setting, exchange)
