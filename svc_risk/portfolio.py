"""The account's risk as an operator looks at it: figures, what each product adds to them, and the locks in force."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import localcontext
from uuid import UUID

from svc_risk.exposure import Account, account_figures, exposure_of, ratio_of, stop_distance
from svc_risk.parameters import Parameters
from svc_risk.snapshot import Holding, Lock
from tradekit.decimals import CONTEXT
from tradekit.sizes import NO_QUOTE
from tradekit.units import QuoteSize


@dataclass(frozen=True, slots=True)
class PositionRisk:
    """One product's part."""

    holding: Holding
    exposure: QuoteSize
    heat: float


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Everything GetPortfolioRisk tells; `as_of` is None before the first candle."""

    account: Account
    cash: QuoteSize
    high_water_mark: QuoteSize | None
    positions: tuple[PositionRisk, ...]
    locks: Sequence[tuple[UUID, Lock]]
    held_reservations: int
    as_of: datetime | None


def portfolio_of(
    cash: QuoteSize | None,
    holdings: Sequence[Holding],
    high_water_mark: QuoteSize | None,
    day_open: QuoteSize | None,
    locks: Sequence[tuple[UUID, Lock]],
    held_reservations: int,
    as_of: datetime | None,
    p: Parameters,
) -> Portfolio:
    """The figures of the account, as an assessment would see them; cash is None while the ledger has no opening entry."""
    cash = cash if cash is not None else NO_QUOTE
    with localcontext(CONTEXT):
        account = account_figures(cash, holdings, high_water_mark, day_open, p)
        positions = tuple(_position(holding, account, p) for holding in holdings)
    return Portfolio(account, cash, high_water_mark, positions, locks, held_reservations, as_of)


def _position(holding: Holding, account: Account, p: Parameters) -> PositionRisk:
    exposure = exposure_of(holding)
    heat = ratio_of(exposure * stop_distance(holding.sigma_14d, p), account.equity)
    return PositionRisk(holding, exposure, heat)
