"""What became of what the model said: settles outcomes and checks for drift every 24 bars, after the bar and before the next.

A check is a function of stored rows up to its bar: a replay and a live run that store the same signals report the same,
and a repeated check changes nothing. What it finds is in force from the next bar on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import gcd
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from modelkit import candle_reader
from modelkit.labels import LabelRule
from modelkit.loading import LoadedModel
from svc_signal.drift import store
from svc_signal.drift.measures import (
    SCALE,
    DriftReport,
    Tally,
    edge_drift,
    feature_drift,
    is_suspended,
    prior_loss,
    total,
)
from svc_signal.drift.metrics import DriftMetrics
from svc_signal.drift.outcomes import AwaitedSignal, bars_to_wait, mature
from svc_signal.drift.store import Series, UnsettledRow
from svc_signal.settings import SignalSettings
from tradekit.bars import unix, utc

CHECK_BARS = 24
"""A check is taken at every bar whose absolute number is a multiple of this."""
SETTLE_BARS = 48
"""Signals that many bars behind their horizon without an outcome never get one: their future is broken."""
FEATURE_BARS = 1440
"""Window of feature rows. The features look back over up to 168 bars, so a week holds hardly one independent row of the
slow ones: without any drift, a quarter of the features would stand above the alarm."""
FEATURE_STEP = 11
"""Neighbouring rows say the same; a step without a factor in common with a week of hours shows every one of them."""
FEATURE_ROWS = 2000
OWN_DAYS = 30


class DriftMonitor:
    """The newest drift check of the serving model; one per process."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings]) -> None:
        self._series = Series(settings.run_id, settings.granularity_seconds)
        self._bar = timedelta(seconds=settings.granularity_seconds)
        self._products = tuple(sorted(settings.products))
        self._checks = timedelta(days=OWN_DAYS) // (CHECK_BARS * self._bar)
        self._log = kit.log
        self._metrics = DriftMetrics(kit.metrics)
        self.newest: DriftReport | None = None
        self._read_for: tuple[str, datetime] | None = None

    @property
    def suspended(self) -> bool:
        """True while the model of the newest check has to hold."""
        return self.newest is not None and self.newest.suspended

    async def holds(self, connection: AsyncConnection, as_of: datetime, model: LoadedModel) -> bool:
        """Whether the model has to hold at the bar that closes at `as_of`, by the newest check before that bar.

        The check is read where it is not the one in memory: another process took it, or the transaction it was taken in
        was lost, or another model serves.
        """
        before = self.missing(as_of, model)
        if before is not None:
            version = model.manifest.model_version
            self._take(await store.newest_report(connection, self._series.run_id, version, as_of))
            self._read_for = (version, before)
        return self.suspended

    def missing(self, as_of: datetime, model: LoadedModel) -> datetime | None:
        """as_of of the newest check before that bar, if it is neither in memory nor known not to be stored."""
        wanted = (model.manifest.model_version, self._check_before(as_of))
        known = self.newest is not None and (self.newest.model_version, self.newest.as_of) == wanted
        return None if known or self._read_for == wanted else wanted[1]

    def forget(self) -> None:
        """Lets go of a check whose transaction was lost; the next bar reads what is stored."""
        self.newest, self._read_for = None, None

    def _check_before(self, as_of: datetime) -> datetime:
        """Close of the newest bar before this one at which a check is taken."""
        earlier = self._number(as_of) - 2
        return utc((earlier // CHECK_BARS * CHECK_BARS + 1) * self._series.granularity)

    async def settle(self, connection: AsyncConnection, as_of: datetime, model: LoadedModel) -> None:
        """Settles the outcomes that are known at the close `as_of`, and checks the model for drift."""
        await self._settle_labels(connection, as_of, model)
        report = await self._check(connection, as_of, model)
        await store.insert_report(connection, self._series.run_id, report)
        self._take(report)
        self._read_for = None

    def _take(self, report: DriftReport | None) -> None:
        before, self.newest = self.suspended, report
        self._metrics.show(report)
        if report is not None and report.suspended != before:
            self._log.warning(
                "model_suspended" if report.suspended else "model_serves_again",
                model_version=report.model_version,
                as_of=report.as_of.isoformat(),
                labels=report.matured_labels,
                log_loss=round(report.log_loss, 4),
                prior_log_loss=round(report.prior_log_loss, 4),
            )

    async def _settle_labels(self, connection: AsyncConnection, as_of: datetime, model: LoadedModel) -> None:
        until = self._known_until(as_of, model)
        rows = await store.unsettled(connection, self._series, until - SETTLE_BARS * self._bar, until)
        awaited = self._awaited(rows, await self._rules(connection, rows, model))
        if not awaited:
            return
        first, last = utc(awaited[0].bar * self._series.granularity), as_of - self._bar
        products = sorted({signal.product_id for signal in awaited})
        candles = await candle_reader.history(connection, self._series.granularity, products, first, last)
        labels = mature(awaited, candles, self._series.granularity, self._number(last))
        await store.insert_labels(connection, self._series, labels)

    def _known_until(self, as_of: datetime, model: LoadedModel) -> datetime:
        """as_of of the newest bar whose outcome is known when the bar of `as_of` closes."""
        return as_of - bars_to_wait(model.manifest.label) * self._bar

    async def _rules(
        self, connection: AsyncConnection, rows: Sequence[UnsettledRow], model: LoadedModel
    ) -> Mapping[str, LabelRule]:
        """The label rule of each model that spoke: a signal is judged by the rule of its own."""
        found = {model.manifest.model_version: model.manifest.label}
        others = sorted({row.model_version for row in rows} - found.keys())
        if others:
            documents = await store.label_documents(connection, others)
            found.update({version: _rule(document) for version, document in documents.items()})
        return found

    def _awaited(self, rows: Sequence[UnsettledRow], rules: Mapping[str, LabelRule]) -> list[AwaitedSignal]:
        return [
            AwaitedSignal(row.product_id, self._number(row.bar_start), row.sigma, row.model_version, rule)
            for row in rows
            if (rule := rules.get(row.model_version)) is not None
        ]

    async def _check(self, connection: AsyncConnection, as_of: datetime, model: LoadedModel) -> DriftReport:
        manifest, run_id = model.manifest, self._series.run_id
        version = manifest.model_version
        before = await store.newest_report(connection, run_id, version, as_of)
        values, bars = await store.feature_rows(
            connection, self._series, manifest.feature_set_hash, self._sampled(as_of - self._bar)
        )
        features = feature_drift(values, bars, manifest.document.get("reference_bins", {}))
        edge_bins = before.edge_bins if before else ()
        part, since = await self._part(connection, as_of, model, edge_bins)
        earlier = await store.parts(connection, run_id, version, as_of - timedelta(days=OWN_DAYS), as_of)
        own = total([*earlier, part])
        if before is not None and not edge_bins:
            edge_bins = await self._first_edges(connection, as_of, version, before.own_since)
        prior = prior_loss(own.outcomes, manifest.shares.tolist())
        return DriftReport(
            model_version=version,
            as_of=as_of,
            rows=len(values) if features else 0,
            features=features,
            edge_psi=edge_drift(own.edge_counts) if len(earlier) + 1 >= self._checks else 0.0,
            buy_share=own.share(own.buys),
            sell_share=own.share(own.sells),
            mean_confidence=own.share(own.confidence / SCALE),
            matured_labels=own.labels,
            log_loss=own.log_loss,
            prior_log_loss=prior,
            suspended=is_suspended(before is not None and before.suspended, own.labels, own.log_loss, prior),
            own_since=(before and before.own_since) or since,
            edge_bins=edge_bins,
            part=part,
        )

    async def _part(
        self, connection: AsyncConnection, as_of: datetime, model: LoadedModel, edge_bins: Sequence[float]
    ) -> tuple[Tally, datetime | None]:
        """What happened since the check before: the model's signals, and the labels that matured."""
        span = CHECK_BARS * self._bar
        known = self._known_until(as_of, model)
        signals, labels = (as_of - span, as_of), (known - span, known)
        version = model.manifest.model_version
        return await store.tally(connection, self._series, version, signals, labels, edge_bins)

    async def _first_edges(
        self, connection: AsyncConnection, as_of: datetime, version: str, since: datetime | None
    ) -> tuple[float, ...]:
        """Deciles of the edges of the model's first days, once they are over."""
        end = since + timedelta(days=OWN_DAYS) if since else None
        if since is None or end is None or as_of < end:
            return ()
        return await store.edge_deciles(connection, self._series, version, since - self._bar, end - self._bar)

    def _sampled(self, newest: datetime) -> Sequence[tuple[str, datetime]]:
        """Products and bars whose features are checked; with many products other ones at each bar, in turn."""
        bars = [newest - number * FEATURE_STEP * self._bar for number in range(FEATURE_BARS // FEATURE_STEP + 1)]
        everything = [(product, bar) for bar in bars for product in self._products]
        step = -(-len(everything) // FEATURE_ROWS)
        while gcd(step, len(self._products)) != 1:
            step += 1
        return everything[::step]

    def _number(self, start: datetime) -> int:
        return unix(start) // self._series.granularity


def _rule(document: Mapping[str, Any]) -> LabelRule:
    return LabelRule(
        horizon_bars=int(document["horizon_bars"]),
        **{name: float(document[name]) for name in ("barrier_width", "fee_ratio", "slippage_ratio", "margin_ratio")},
    )
