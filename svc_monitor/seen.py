"""What the rules of the alerts look at, and what a rule gives."""

from collections.abc import Sequence
from dataclasses import dataclass

from svc_monitor.alerts import Finding
from svc_monitor.feeds.exits import Exits
from svc_monitor.feeds.match import AccountMatch
from svc_monitor.feeds.model import Model
from svc_monitor.feeds.pipeline import Pipeline
from svc_monitor.feeds.reviewer import Reviewer
from svc_monitor.feeds.risk import PortfolioRisk
from svc_monitor.feeds.trading import Trading
from svc_monitor.health import ServiceHealth
from tradekit.ledger_words import LedgerWords


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything the rules look at. A part is None when it is not known, or known too long ago. `protects`: whether positions
    are to be protected."""

    services: Sequence[ServiceHealth]
    database_up: bool
    bar_seconds: int
    starting: bool = False
    protects: bool = True
    pipeline: Pipeline | None = None
    risk: PortfolioRisk | None = None
    trading: Trading | None = None
    exits: Exits | None = None
    model: Model | None = None
    reviewer: Reviewer | None = None
    ledger: LedgerWords | None = None
    match: AccountMatch | None = None


Found = tuple[Finding, ...] | None
