"""What the decisions of a batch rest on beside its items: the account under its lock, the clocks, and the account as of the
market times that the items are of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from svc_risk.exposed import AccountState
from svc_risk.snapshot import Lock, PastOrders
from tradekit.states import TradingState
from tradekit.units import QuoteSize


@dataclass(frozen=True, slots=True)
class AccountRow:
    """The account as it stands under its lock."""

    trading_state: TradingState
    note: str
    high_water_mark: QuoteSize | None
    version: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The clocks, when the ledger was last reconciled, the exchange's taker fee (None until it was read), and the market time
    of the newest equity mark. `market_time` is None before the first candle.
    """

    machine_time: datetime
    market_time: datetime | None
    reconciled_at: datetime | None
    clean: bool
    exchange_fee: Decimal | None
    marked_to: datetime | None

    def reconciled_within(self, seconds: int) -> bool:
        """Whether the newest reconciliation is young enough and found the ledger equal."""
        if self.reconciled_at is None or not self.clean:
            return False
        return self.machine_time - self.reconciled_at <= timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class AccountAt:
    """The account at a market time. `cash` is None while the ledger has no opening entry, `day_open` before the first mark.

    `locks` are those in force, with their ids; `ended` are the ids of those from this very time that were released.
    """

    cash: QuoteSize | None
    day_open: QuoteSize | None
    locks: tuple[tuple[UUID, Lock], ...]
    ended: frozenset[UUID]
    orders: tuple[PastOrders, ...]


@dataclass(frozen=True, slots=True)
class Highs:
    """The high-water mark before and after each mark that was made, by the mark's market time, in order."""

    before: QuoteSize | None
    after: tuple[tuple[datetime, QuoteSize | None], ...] = ()

    @property
    def newest(self) -> QuoteSize | None:
        """After all of them."""
        return self.after[-1][1] if self.after else self.before

    def seen_at(self, as_of: datetime) -> QuoteSize | None:
        """As it was when the bars up to `as_of` were marked and none later."""
        made = [high for time, high in self.after if time <= as_of]
        return made[-1] if made else self.before


@dataclass(frozen=True, slots=True)
class Known:
    """What a batch's decisions rest on beside the facts of each item."""

    account: AccountRow
    moment: Moment
    highs: Highs
    state: AccountState
    at: Mapping[datetime, AccountAt]
