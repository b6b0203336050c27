"""Every feed of the page, with the tasks that keep them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshkit.kit import Kit
from meshkit.spec import Task
from svc_monitor.feeds import (
    account,
    exits,
    ledger,
    match,
    model,
    orders,
    pipeline,
    recommendations,
    reductions,
    reviewer,
    risk,
    trading,
)
from svc_monitor.feeds.account import Account, Course
from svc_monitor.feeds.exits import Exits
from svc_monitor.feeds.feed import Feed
from svc_monitor.feeds.match import AccountMatch
from svc_monitor.feeds.model import Model
from svc_monitor.feeds.orders import OrderSeen
from svc_monitor.feeds.pipeline import Pipeline
from svc_monitor.feeds.recommendations import Recommendation
from svc_monitor.feeds.reductions import Reduction
from svc_monitor.feeds.reviewer import Reviewer
from svc_monitor.feeds.risk import PortfolioRisk
from svc_monitor.feeds.trading import Trading
from svc_monitor.pulse import Pulse
from svc_monitor.settings import MonitorSettings
from tradekit import services
from tradekit.ledger_words import LedgerWords
from tradekit.services import ServiceName


@dataclass(frozen=True, slots=True)
class Feeds:
    """What the other services said last."""

    pipeline: Feed[Pipeline]
    recommendations: Feed[dict[str, Recommendation]]
    reductions: Feed[dict[str, Reduction]]
    orders: Feed[dict[str, OrderSeen]]
    account: Feed[Account]
    risk: Feed[PortfolioRisk]
    model: Feed[Model]
    reviewer: Feed[Reviewer]
    course: Course
    trading: Feed[Trading]
    # Only the alerts look at these.
    exits: Feed[Exits]
    ledger: Feed[LedgerWords]
    match: Feed[AccountMatch]

    def every(self) -> Sequence[Feed[Any]]:
        """The feeds of the page, in its order."""
        return (
            self.pipeline,
            self.recommendations,
            self.reductions,
            self.orders,
            self.account,
            self.trading,
            self.risk,
            self.model,
            self.reviewer,
        )


def open_feeds(settings: MonitorSettings, kit: Kit[Any]) -> tuple[Feeds, list[Task]]:
    """The feeds, and the tasks that the process must own."""

    def channel(service: ServiceName) -> Any:
        return kit.channel(settings.address(service), service.full_name)

    course, news = Course(), Pulse()
    pipeline_feed, pipeline_task = pipeline.feed(channel(services.ORCHESTRATOR), kit, news)
    recommendations_feed, recommendations_task = recommendations.feed(channel(services.BRIDGE), kit, news)
    reductions_feed, reductions_task = reductions.feed(channel(services.ORCHESTRATOR), kit, recommendations_feed, news)
    orders_feed, orders_task = orders.feed(channel(services.EXECUTOR), kit, news)
    account_feed, account_task = account.feed(channel(services.EXECUTOR), kit, course, news)
    risk_feed, risk_task = risk.feed(channel(services.RISK), kit, news)
    model_feed, model_task = model.feed(channel(services.SIGNAL), kit)
    reviewer_feed, reviewer_task = reviewer.feed(channel(services.VALIDATOR), kit)
    exits_feed, exits_task = exits.feed(kit, news)
    trading_feed, trading_tasks = trading.feed(channel(services.EXECUTOR), kit)
    ledger_feed, ledger_task = ledger.feed(channel(services.EXECUTOR), kit)
    match_feed, match_task = match.feed(settings, kit)
    feeds = Feeds(
        pipeline_feed,
        recommendations_feed,
        reductions_feed,
        orders_feed,
        account_feed,
        risk_feed,
        model_feed,
        reviewer_feed,
        course,
        trading_feed,
        exits_feed,
        ledger_feed,
        match_feed,
    )
    tasks = [pipeline_task, recommendations_task, orders_task, account_task, risk_task, model_task, reviewer_task]
    return feeds, [*tasks, reductions_task, exits_task, *trading_tasks, ledger_task, match_task]
