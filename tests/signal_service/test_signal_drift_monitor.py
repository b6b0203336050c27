"""Outcomes and drift over real rows: the labels of training, checks that repeat, and a suspension that ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, select

from meshkit.kit import Kit
from modelkit.features.cleaning import clean
from modelkit.features.definition import FEATURES, NAMES
from modelkit.labels import NO_LABEL, LabelRule, label
from schema.market import crypto_prices
from schema.signals import matured_labels, model_drift, models, trading_signals
from svc_signal.drift.measures import DriftReport, Grade, Tally
from svc_signal.drift.monitor import DriftMonitor
from svc_signal.drift.store import insert_report
from svc_signal.settings import SignalSettings
from tests.signal.signal_series import FIRST_BAR, synthetic
from tests.support.stored import unlock_rows
from tradekit import ids
from tradekit.bars import utc

HOUR = timedelta(hours=1)
PRODUCTS = ("BTC-USD", "C01-USD", "C02-USD")
RULE = LabelRule(fee_ratio=0.0005)
SHARES = (0.3, 0.4, 0.3)
FIRST = FIRST_BAR + 24 - FIRST_BAR % 24
"""A bar whose number is a multiple of 24."""
TIMELESS = [feature.name for feature in FEATURES if feature.group != "time"]


def model(version: str = "m1", rule: LabelRule = RULE, reference: dict[str, Any] | None = None) -> Any:
    """What a check needs of a loaded model."""
    bins = {name: np.linspace(0.1, 0.9, 9).tolist() for name in NAMES} if reference is None else reference
    document = {"reference_bins": bins, "label": {name: getattr(rule, name) for name in LabelRule.__slots__}}
    manifest = SimpleNamespace(
        model_version=version, label=rule, shares=np.asarray(SHARES), feature_set_hash="h", document=document
    )
    return SimpleNamespace(manifest=manifest)


class History:
    """Stored candles and signals, made by hand."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self.settings = SignalSettings(
            **database.settings_of("signal"), products=",".join(PRODUCTS),
            market_address="127.0.0.1:1", decision_profile="EVIDENCE",
        )  # fmt: skip
        self.sequence = 0

    def drift_monitor(self) -> DriftMonitor:
        self.kit: Kit[SignalSettings] = Kit(self.settings)
        return DriftMonitor(self.settings, self.kit)

    async def run(self, statement: Any, rows: Any = None) -> list[Any]:
        async with self.database.engine.begin() as connection:
            result = await connection.execute(statement, rows)
            return list(result.mappings()) if result.returns_rows else []

    async def candles(self, bars: int, missing: frozenset[tuple[str, int]] = frozenset(), seed: int = 7) -> Any:
        """Candles of `bars` bars from FIRST on; gives them."""
        series = synthetic(3, bars, seed, FIRST)
        rows, kept = [], {}
        for product, one in series.items():
            keep = np.asarray([(product, at) not in missing for at in range(bars)])
            kept[product] = one.take(keep)
            for at in np.flatnonzero(keep):
                self.sequence += 1
                prices = {name: float(getattr(one, name)[at]) for name in ("open", "high", "low", "close", "volume")}
                rows.append({
                    "product_id": product, "granularity": 3600, "start": utc(int(one.start[at])), "source": "test",
                    "sequence": self.sequence, **{name: round(value, 12) for name, value in prices.items()},
                })  # fmt: skip
        await self.run(insert(crypto_prices), rows)
        stored = await self.run(select(crypto_prices).order_by(crypto_prices.c.product_id, crypto_prices.c.start))
        for product in kept:
            mine = [row for row in stored if row["product_id"] == product]
            columns = {
                name: np.asarray([float(row[name]) for row in mine]) for name in ("open", "high", "low", "close")
            }
            kept[product] = replace(kept[product], **columns)
        return kept

    async def signals(self, first: int, last: int, version: str = "m1", **given: Any) -> None:
        """Signals of the bars FIRST + first to FIRST + last; `p`, `features` and `has` may be functions of (bar, product)."""
        p = given.get("p", lambda bar, product: (0.3, 0.4, 0.3))
        features = given.get("features", lambda bar, product: [0.0] * 51)
        has = given.get("has", lambda bar, product: True)
        rows = []
        for bar in range(first, last + 1):
            start = utc((FIRST + bar) * 3600)
            for product in PRODUCTS:
                if not has(bar, product):
                    continue
                self.sequence += 1
                down, neutral, up = p(bar, product)
                rows.append({
                    "signal_id": ids.signal_id(self.settings.run_id, product, 3600, start, version),
                    "run_id": self.settings.run_id, "product_id": product, "granularity": 3600, "bar_start": start,
                    "as_of": start + HOUR, "side": "BUY" if bar % 4 == 0 else "HOLD", "confidence": given.get("confidence", 0.5),
                    "p_down": down, "p_neutral": neutral, "p_up": up, "edge": up - down, "expected_net": 0.0,
                    "sigma_horizon": 0.01 + 0.02 * ((bar * 7) % 10) / 10, "reference_price": 1, "model_version": version,
                    "feature_set_hash": "h", "profile": "EVIDENCE", "reasons": [], "features": list(features(bar, product)),
                    "sequence": self.sequence,
                })  # fmt: skip
        await self.run(insert(trading_signals), rows)

    async def settle(self, drift_monitor: DriftMonitor, bar: int, serving: Any) -> None:
        async with self.database.engine.begin() as connection:
            await drift_monitor.settle(connection, utc((FIRST + bar + 1) * 3600), serving)

    async def labels(self) -> list[tuple[Any, ...]]:
        rows = await self.run(select(matured_labels).order_by(matured_labels.c.bar_start, matured_labels.c.product_id))
        return [tuple(row.values()) for row in rows]

    async def checks(self) -> list[tuple[Any, ...]]:
        rows = await self.run(select(model_drift).order_by(model_drift.c.model_version, model_drift.c.as_of))
        return [tuple(row.values()) for row in rows]


@pytest.fixture
async def history(database: Any) -> History:
    return History(database)


def whole_grid(candles: Any, bars: int) -> Any:
    return clean(candles, 3600, "BTC-USD", FIRST, FIRST + bars - 1)


async def test_outcomes_are_the_labels_that_training_would_give(history: History) -> None:
    bars = 24 * 12 + 1
    rng = np.random.default_rng(3)
    missing = {(PRODUCTS[2], int(bar)) for bar in rng.integers(20, bars - 30, 25)}
    missing |= {(PRODUCTS[1], bar) for bar in range(100, 118)}  # a gap that resets
    candles = await history.candles(bars, frozenset(missing))
    grid = whole_grid(candles, bars)
    real = np.isfinite(grid.close) & ~grid.filled
    row_of = {product: row for row, product in enumerate(grid.products)}
    await history.signals(0, bars - 1, has=lambda bar, product: bool(real[row_of[product], bar]))
    drift_monitor = history.drift_monitor()
    for bar in range(0, bars, 24):
        await history.settle(drift_monitor, bar, model())
    rows = await history.run(select(trading_signals))
    sigma = np.full(grid.close.shape, np.nan)
    for row in rows:
        at = int(row["bar_start"].timestamp()) // 3600 - FIRST
        sigma[row_of[row["product_id"]], at] = row["sigma_horizon"]
    expected = label(grid, sigma, np.isfinite(sigma), RULE)
    gain = np.log(grid.open[:, 2:]) - np.log(grid.open[:, 1:-1])
    wanted = {
        (product, at): (int(expected[row, at]), float(gain[row, at]))
        for product, row in row_of.items()
        for at in np.flatnonzero(expected[row] != NO_LABEL)
    }
    stored = await history.run(select(matured_labels))
    found = {
        (row["product_id"], int(row["bar_start"].timestamp()) // 3600 - FIRST): (row["outcome"], row["next_return"])
        for row in stored
    }
    assert found == wanted
    assert {outcome for outcome, _ in found.values()} == {0, 1, 2}
    assert len(found) < len(rows) - 24 * 3, "broken futures must have no outcome"


async def test_a_check_is_a_function_of_rows_and_changes_nothing_when_repeated(history: History) -> None:
    bars = 24 * 6 + 1
    await history.candles(bars)
    await history.signals(0, bars - 1)
    drift_monitor = history.drift_monitor()
    for bar in range(0, bars, 24):
        await history.settle(drift_monitor, bar, model())
    labels, checks = await history.labels(), await history.checks()
    assert labels and len(checks) == 7
    for bar in (24, bars - 1, 72):
        await history.settle(drift_monitor, bar, model())
        await history.settle(history.drift_monitor(), bar, model())
    assert (await history.labels(), await history.checks()) == (labels, checks)
    await unlock_rows(history.database.engine, "matured_labels", "model_drift")
    for table in (matured_labels, model_drift):
        await history.run(delete(table))
    for bar in range(0, bars, 24):
        await history.settle(history.drift_monitor(), bar, model())  # each check by a process that remembers nothing
    assert (await history.labels(), await history.checks()) == (labels, checks)
    started = history.drift_monitor()
    async with history.database.engine.connect() as connection:
        next_bar = utc((FIRST + bars + 1) * 3600)
        await started.holds(connection, next_bar, model())
        assert started.newest is not None and started.newest.as_of == utc((FIRST + bars) * 3600)
        await started.holds(connection, next_bar, model("m2"))
        assert started.newest is None


async def test_a_bar_is_decided_by_the_check_before_it_whoever_took_that(history: History) -> None:
    """Its own check, that of another process, and after a transaction that was lost."""
    serving = model(reference={})

    async def check(bar: int, suspended: bool, version: str = "m1") -> None:
        part = Tally(0, 0, 0, 0, (), (0, 0, 0), 0)
        report = DriftReport(
            version, utc((FIRST + bar + 1) * 3600), 0, (), 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, suspended, None, (), part
        )
        async with history.database.engine.begin() as connection:
            await insert_report(connection, history.settings.run_id, report)

    async def holds(drift_monitor: DriftMonitor, bar: int, model: Any = serving) -> bool:
        async with history.database.engine.connect() as connection:
            return await drift_monitor.holds(connection, utc((FIRST + bar + 1) * 3600), model)

    mine = history.drift_monitor()
    assert not await holds(mine, 24)
    await check(24, True)
    assert not await holds(mine, 24), "a check is in force from the next bar on"
    assert await holds(mine, 25)
    assert await holds(mine, 48)
    await check(48, False)
    assert await holds(mine, 48)
    assert not await holds(mine, 49)
    await check(72, True)  # another process took this one
    assert await holds(mine, 73)
    assert not await holds(mine, 73, model("m2"))
    assert await holds(mine, 73)
    connection = await history.database.engine.connect()
    await mine.settle(connection, utc((FIRST + 96 + 1) * 3600), model("m2"))
    await connection.rollback()
    await connection.close()
    await check(72, True, "m2")
    assert await holds(mine, 96, model("m2")), "the check that was lost is not in force"


async def test_a_signal_is_judged_by_the_rule_of_its_own_model(history: History) -> None:
    bars = 24 * 4 + 1
    candles = await history.candles(bars)
    short = LabelRule(horizon_bars=6, barrier_width=0.5, fee_ratio=0.0, slippage_ratio=0.0, margin_ratio=0.0)
    former = model("m0", short)
    manifest = {"model_version": "m0", "manifest": former.manifest.document, "manifest_sha256": "0"}
    await history.run(insert(models), [manifest])
    await history.signals(0, 47, "m0")
    await history.signals(48, bars - 1, "m1")
    drift_monitor = history.drift_monitor()
    for bar in range(0, bars, 24):
        await history.settle(drift_monitor, bar, model("m1"))
    grid = whole_grid(candles, bars)
    rows = await history.run(select(trading_signals).where(trading_signals.c.model_version == "m0"))
    sigma = np.full(grid.close.shape, np.nan)
    for row in rows:
        sigma[PRODUCTS.index(row["product_id"]), int(row["bar_start"].timestamp()) // 3600 - FIRST] = row[
            "sigma_horizon"
        ]
    expected = label(grid, sigma, np.isfinite(sigma), short)
    stored = await history.run(select(matured_labels).where(matured_labels.c.model_version == "m0"))
    assert len(stored) == 48 * 3
    for row in stored:
        at = int(row["bar_start"].timestamp()) // 3600 - FIRST
        assert row["outcome"] == expected[PRODUCTS.index(row["product_id"]), at]


async def test_signals_without_probabilities_or_features_have_no_outcome(history: History) -> None:
    await history.candles(49)
    await history.signals(0, 5, "none")
    await history.signals(6, 10, confidence=0.0)
    await history.signals(11, 15, features=lambda bar, product: [])
    await history.settle(history.drift_monitor(), 48, model())
    assert await history.labels() == []
    report = (await history.checks())[0][3]
    assert (report["matured_labels"], report["log_loss"], report["features"]) == (0, 0.0, {})


async def test_worse_than_the_priors_suspends_until_it_is_clearly_better(history: History) -> None:
    days = 60
    bars = 24 * days + 1
    candles = await history.candles(bars)
    grid = whole_grid(candles, bars)
    sigma = np.asarray([[0.01 + 0.02 * ((bar * 7) % 10) / 10 for bar in range(bars)]] * 3)
    outcomes = label(grid, sigma, np.ones(sigma.shape, dtype=np.bool_), RULE)

    def said(bar: int, product: str) -> tuple[float, float, float]:
        """Sure of the wrong class for fifteen days, of the right one after them."""
        truth = int(outcomes[PRODUCTS.index(product), bar])
        told = (truth + 1) % 3 if bar < 15 * 24 else truth
        return tuple(0.6 if code == told else 0.2 for code in range(3))  # type: ignore[return-value]

    await history.signals(0, bars - 1, p=said)
    drift_monitor, course = history.drift_monitor(), []
    for day in range(days + 1):
        await history.settle(drift_monitor, 24 * day, model(reference={}))
        report = drift_monitor.newest
        assert report is not None
        course.append((report.matured_labels, report.suspended, report.log_loss / (report.prior_log_loss or 1.0)))
        assert drift_monitor.suspended == report.suspended
    begun = [index for index, (_, held, _) in enumerate(course) if held]
    assert course[begun[0]][0] >= 500 > course[begun[0] - 1][0]
    assert begun == list(range(begun[0], begun[-1] + 1)), "one suspension, from its beginning to its end"
    assert course[begun[-1] + 1][2] < 0.995
    assert all(ratio >= 0.995 for _, _, ratio in course[begun[0] : begun[-1] + 1])
    assert begun[-1] < days
    # The last check by the rows themselves: the labels that matured in the 30 days before it.
    known = [bar for bar in range(bars) if 24 * (days - 30) - 24 < bar <= 24 * days - 24]
    of_them = [(bar, product, int(outcomes[row, bar])) for bar in known for row, product in enumerate(PRODUCTS)]
    assert drift_monitor.newest is not None
    assert drift_monitor.newest.matured_labels == len(of_them) == 2160
    loss = -np.mean([np.log(said(bar, product)[outcome]) for bar, product, outcome in of_them])
    assert drift_monitor.newest.log_loss == pytest.approx(loss, rel=1e-9)
    prior = -np.mean([np.log(SHARES[outcome]) for _, _, outcome in of_them])
    assert drift_monitor.newest.prior_log_loss == pytest.approx(prior, rel=1e-9)
    restored = history.drift_monitor()
    async with history.database.engine.connect() as connection:
        after = drift_monitor.newest.as_of + timedelta(seconds=3600)
        await restored.holds(connection, after, model(reference={}))
    assert restored.newest == drift_monitor.newest


async def test_moved_features_alarm_and_do_not_suspend(history: History) -> None:
    bars = 1500
    rng = np.random.default_rng(5)
    drawn = rng.uniform(0.0, 1.0, (bars, 3, 51))
    drawn[:, :, NAMES.index("rsi_14")] *= 0.4
    await history.signals(0, bars, features=lambda bar, product: drawn[bar - 1, PRODUCTS.index(product)].tolist())
    drift_monitor = history.drift_monitor()
    early = 24 * 40
    await history.settle(drift_monitor, early, model())
    assert drift_monitor.newest is not None
    assert (drift_monitor.newest.rows, drift_monitor.newest.features) == (0, ())
    await history.settle(drift_monitor, 24 * 62, model())
    report = drift_monitor.newest
    assert report.rows == 131 * 3
    assert {feature.name for feature in report.features} == set(TIMELESS)
    worst, *others = report.features
    assert (worst.name, worst.grade) == ("rsi_14", Grade.ALARM)
    assert {feature.grade for feature in others} == {Grade.NONE}
    assert not drift_monitor.suspended
    told = history.kit.telemetry.prometheus_text().decode()
    gauges = {
        line.split(" ")[0].split("{")[0]: float(line.split(" ")[1]) for line in told.splitlines() if line[0] != "#"
    }
    assert gauges["signal_model_max_psi"] == worst.psi
    assert gauges["signal_model_suspended"] == 0.0
    assert told.count("signal_model_feature_psi{") == len(TIMELESS)


async def test_edges_are_compared_with_the_first_days_of_their_own_model(history: History) -> None:
    days = 61
    rng = np.random.default_rng(9)
    moved = 45 * 24

    def said(bar: int, product: str) -> tuple[float, float, float]:
        edge = float(rng.normal(0.2 if bar >= moved else 0.0, 0.05))
        return 0.3 - edge / 2, 0.4, 0.3 + edge / 2

    await history.signals(0, days * 24, p=said)
    drift_monitor = history.drift_monitor()
    psis = []
    for day in range(days + 1):
        await history.settle(drift_monitor, 24 * day, model(reference={}))
        assert drift_monitor.newest is not None
        psis.append(drift_monitor.newest.edge_psi)
    assert psis[:60] == [0.0] * 60
    assert psis[61] > 0.5
    report = drift_monitor.newest
    assert report.own_since == utc((FIRST + 1) * 3600)
    assert report.buy_share == pytest.approx(0.25, abs=0.01)
    assert report.mean_confidence == pytest.approx(0.5)
