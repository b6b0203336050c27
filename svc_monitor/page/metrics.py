"""The mesh as Prometheus gauges, read at the moment of a scrape beside the process's own metrics.

What is not known is left out, never 0; `mesh_feed_age_seconds` tells how old the rest is.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from meshkit.clock import Clock
from svc_monitor.feeds.all import Feeds
from svc_monitor.feeds.match import AccountMatch
from svc_monitor.feeds.model import Model
from svc_monitor.feeds.pipeline import Pipeline
from svc_monitor.health import ServiceState
from svc_monitor.page.snapshot import Snapshots
from svc_monitor.rules import RULES


class MeshCollector(Collector):
    """Gauges of the whole mesh."""

    def __init__(self, snapshots: Snapshots, clock: Clock) -> None:
        self._snapshots = snapshots
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Everything that is known now."""
        yield from self._health()
        feeds = self._snapshots.feeds
        if feeds.pipeline.value is not None:
            yield from _pipeline(feeds.pipeline.value)
        yield from _account(feeds)
        if feeds.match.value is not None:
            yield from _match(feeds.match.value)
        if feeds.model.value is not None:
            yield from _model(feeds.model.value)
        yield from self._alerts()
        yield from self._ages(feeds)

    def _health(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("mesh_service_up", "1 if the service says SERVING", labels=["service"])
        entries = GaugeMetricFamily("mesh_entries_open", "1 if the service accepts new positions", labels=["service"])
        for health in self._snapshots.board.services():
            up.add_metric([health.service.name], float(health.own.state is ServiceState.SERVING))
            entries.add_metric([health.service.name], float(health.entries.state is ServiceState.SERVING))
        yield up
        yield entries
        yield _single("mesh_database_up", "1 if the database answers", float(self._snapshots.journal.database_up))

    def _alerts(self) -> Iterator[Metric]:
        raised = Counter((alert.code, alert.severity.value) for alert in self._snapshots.alert_manager.raised())
        family = GaugeMetricFamily("mesh_alerts_raised", "Alerts in force", labels=["code", "severity"])
        for (code, severity), count in raised.items():
            family.add_metric([code, severity], count)
        for code in RULES.keys() - {code for code, _ in raised}:
            # A series that vanishes cannot be alerted on; a rule at rest is 0.
            family.add_metric([code, ""], 0)
        yield family

    def _ages(self, feeds: Feeds) -> Iterator[Metric]:
        family = GaugeMetricFamily("mesh_feed_age_seconds", "Time since a source last answered", labels=["feed"])
        for feed in feeds.every():
            if feed.received_at is not None:
                family.add_metric([feed.name], (self._clock.now() - feed.received_at).total_seconds())
        yield family


def _single(name: str, text: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _pipeline(pipeline: Pipeline) -> Iterator[Metric]:
    items = GaugeMetricFamily("mesh_stage_items", "Items of a stage by outcome", labels=["stage", "outcome"])
    lag = GaugeMetricFamily("mesh_stage_lag_seconds", "How far a stage is behind the market", labels=["stage"])
    for stage in pipeline.stages:
        by_outcome: Counter[str] = Counter()
        for outcome in stage.outcomes:
            by_outcome[outcome.outcome] += outcome.count
        for name, count in by_outcome.items():
            items.add_metric([stage.name, name], count)
        if stage.lag_seconds is not None:
            lag.add_metric([stage.name], stage.lag_seconds)
    yield items
    yield lag
    yield _single("mesh_open_recommendations", "Recommendations not ended", pipeline.open_recommendations)
    yield _single("mesh_open_orders", "Orders under way, without those that rest", pipeline.open_orders)
    yield _single("mesh_resting_orders", "Orders that rest at the exchange", pipeline.resting_orders)
    yield _single("mesh_unknown_orders", "Orders whose outcome is unknown", pipeline.unknown_orders)


def _account(feeds: Feeds) -> Iterator[Metric]:
    account, risk = feeds.account.value, feeds.risk.value
    figures: list[tuple[str, str, Any]] = []
    if account is not None:
        figures += [
            ("mesh_equity", "Cash plus positions at their marks, quote currency", account.equity),
            ("mesh_realized_pnl", "Profit of closed parts, fees deducted", account.realized_pnl),
            ("mesh_fees", "All fees paid", account.total_fees),
        ]
    if risk is not None:
        figures += [
            ("mesh_cash", "Cash, quote currency", risk.cash),
            ("mesh_exposure", "Positions, open buys and reservations, quote currency", risk.exposure),
            ("mesh_heat_ratio", "Share of equity lost if every stop is hit on one day", risk.heat),
            ("mesh_drawdown_ratio", "Fall from the high-water mark", risk.drawdown),
        ]
    # Prometheus knows floats only; the exact figures are in the ledger.
    yield from (_single(name, text, float(value)) for name, text, value in figures if value is not None)


def _match(found: AccountMatch) -> Iterator[Metric]:
    """How many figures differ, 0 at rest, and by how much each."""
    mismatches = GaugeMetricFamily(
        "mesh_ledger_mismatches", "Figures of the ledger that fills or exchange tell differently", labels=["side"]
    )
    difference = GaugeMetricFamily(
        "mesh_ledger_difference", "What the ledger has too much, in the figure's unit", labels=["side", "figure"]
    )
    mismatches.add_metric(["fills"], len(found.from_fills))
    mismatches.add_metric(["exchange"], len(found.from_exchange))
    for one in found.from_fills:
        difference.add_metric(["fills", one.what], float(one.ledger - one.fills))
    for one in found.from_exchange:
        if one.exchange is not None:
            difference.add_metric(["exchange", one.what], float(one.ledger - one.exchange))
    yield mismatches
    yield difference


def _model(model: Model) -> Iterator[Metric]:
    yield _single("mesh_model_loaded", "1 if a model serves", float(model.loaded))
    yield _single("mesh_model_suspended", "1 while the model is worse than its class shares", float(model.suspended))
    if model.drift is None:
        return
    drift = model.drift
    psi = GaugeMetricFamily("mesh_model_feature_psi", "Stability index against the training", labels=["feature"])
    for feature in drift.features:
        psi.add_metric([feature.name], feature.psi)
    yield psi
    yield _single("mesh_model_edge_psi", "Stability index of the edge against the model's first days", drift.edge_psi)
    yield _single("mesh_model_matured_labels", "Labels of the last 30 days that have matured", drift.matured_labels)
    if drift.matured_labels:
        yield _single("mesh_model_log_loss", "Mean log loss on them, nats", drift.log_loss)
        yield _single(
            "mesh_model_prior_log_loss", "Log loss of the training's class shares, nats", drift.prior_log_loss
        )
