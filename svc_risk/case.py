"""What the rules look at: a request, the account and market it meets, and the figures worked out from them."""

from dataclasses import dataclass
from decimal import Decimal

from svc_risk.exposure import Account
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding, Request, Snapshot
from tradekit.units import BaseSize, QuoteSize


@dataclass(frozen=True, slots=True)
class Case:
    """A request with everything the rules look at.

    `sigma` is the floored 14-day volatility, sigma_ref if unknown; `quote_size` and `base_size` are what is left of a BUY or
    a SELL so far, all of it until it has been scaled and capped (0: the other side's).
    """

    request: Request
    snapshot: Snapshot
    p: Parameters
    account: Account
    holding: Holding
    sigma: float
    stop: Decimal
    score: float
    quote_size: QuoteSize
    base_size: BaseSize
