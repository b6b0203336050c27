"""The SQL of what became of the signals: outcomes, and what a look at the model reads and leaves behind.

Sums are over integers: PostgreSQL adds floats in whatever order it likes, and a report must not depend on that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Double,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from schema.base import Time
from schema.market import crypto_prices
from schema.signals import matured_labels, model_drift, models, trading_signals
from svc_signal.candles import CandleArrays, FloatArray
from svc_signal.drift import BINS, DriftReport, FeatureDrift, Tally
from svc_signal.labels import Outcome
from svc_signal.outcomes import MaturedLabel
from tradekit.bars import unix, utc

_SCALE = 10**12
# A probability of 0 would make a loss infinite; training counts it the same.
_LEAST_PROBABILITY = 1e-15


class Series(NamedTuple):
    """Whose signals: those of one run and granularity (seconds)."""

    run_id: str
    granularity: int


class UnsettledRow(NamedTuple):
    """A signal without an outcome; `sigma` is over the label horizon of its model."""

    product_id: str
    bar_start: datetime
    sigma: float
    model_version: str


def _of(series: Series, after: datetime, until: datetime) -> list[Any]:
    """Signals with as_of in (after, until], by the index on as_of."""
    table = trading_signals
    return [
        table.c.as_of > after,
        table.c.as_of <= until,
        table.c.run_id == series.run_id,
        table.c.granularity == series.granularity,
    ]


def _has_probabilities() -> Any:
    """A signal without a model, or of an output that was none, has confidence 0."""
    return (trading_signals.c.confidence > 0.0) & (func.cardinality(trading_signals.c.features) > 0)


def _outcome_of_signal() -> Any:
    """The stored outcome of a signal, NULL without one. Asked signal by signal, by the key: of tables that were filled a
    moment ago the planner knows no sizes, and takes a join for one that compares every row with every other.
    """
    signal, label = trading_signals, matured_labels
    return (
        select(label.c.outcome)
        .where(
            label.c.run_id == signal.c.run_id,
            label.c.granularity == signal.c.granularity,
            label.c.bar_start == signal.c.bar_start,
            label.c.product_id == signal.c.product_id,
        )
        .correlate(signal)
        .scalar_subquery()
    )


async def unsettled(
    connection: AsyncConnection, series: Series, after: datetime, until: datetime
) -> list[UnsettledRow]:
    """Signals with probabilities and without an outcome."""
    table = trading_signals
    columns = (table.c.product_id, table.c.bar_start, table.c.sigma_horizon, table.c.model_version)
    query = (
        select(*columns)
        .where(*_of(series, after, until), _has_probabilities(), _outcome_of_signal().is_(None))
        .order_by(table.c.bar_start, table.c.product_id)
    )
    return [UnsettledRow(*row) for row in await connection.execute(query)]


async def label_documents(connection: AsyncConnection, versions: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The label rules of models that were loaded once, as their manifests have them."""
    query = select(models.c.model_version, models.c.manifest["label"]).where(models.c.model_version.in_(versions))
    return {row[0]: row[1] for row in await connection.execute(query)}


async def candles(
    connection: AsyncConnection, products: Sequence[str], granularity: int, first: datetime, last: datetime
) -> dict[str, CandleArrays]:
    """Stored candles that open in [first, last], by product."""
    table = crypto_prices
    prices = (table.c.open, table.c.high, table.c.low, table.c.close, table.c.volume)
    query = (
        select(
            table.c.product_id,
            cast(func.extract("epoch", table.c.start), BigInteger),
            *(cast(price, Double) for price in prices),
        )
        .where(
            table.c.granularity == granularity,
            table.c.start >= first,
            table.c.start <= last,
            table.c.product_id.in_(products),
        )
        .order_by(table.c.product_id, table.c.start)
    )
    rows = (await connection.execute(query)).all()
    found = {}
    for product, group in groupby(rows, key=itemgetter(0)):
        columns = list(zip(*group, strict=True))
        numbers = (np.asarray(column, dtype=np.float64) for column in columns[2:])
        found[product] = CandleArrays(np.asarray(columns[1], dtype=np.int64), *numbers)
    return found


async def insert_labels(connection: AsyncConnection, series: Series, labels: Sequence[MaturedLabel]) -> None:
    """Stores outcomes; one that is stored stays as it is."""
    if not labels:
        return
    rows = [
        {
            "run_id": series.run_id,
            "granularity": series.granularity,
            "bar_start": utc(label.bar * series.granularity),
            "product_id": label.product_id,
            "model_version": label.model_version,
            "outcome": label.outcome,
            "next_return": label.next_return,
        }
        for label in labels
    ]
    await connection.execute(insert(matured_labels).on_conflict_do_nothing(), rows)


async def feature_rows(
    connection: AsyncConnection, series: Series, feature_set_hash: str, bars: Sequence[datetime], step: int
) -> tuple[FloatArray, int]:
    """Feature rows (n, 51) of the bars that close at these times, every `step`-th signal; and of how many bars they
    are."""
    table = trading_signals
    # As they come: the type of the column would walk through each of them in Python.
    values = type_coerce(table.c.features, NullType())
    query = (
        select(table.c.as_of, values)
        .where(
            table.c.as_of == any_(bindparam("bars", list(bars), ARRAY(Time))),
            table.c.run_id == series.run_id,
            table.c.granularity == series.granularity,
            table.c.feature_set_hash == feature_set_hash,
            func.cardinality(table.c.features) > 0,
            table.c.sequence % step == 0,
        )
        .order_by(table.c.sequence)
    )
    rows = (await connection.execute(query)).all()
    table_of_rows = np.asarray([row[1] for row in rows], dtype=np.float64)
    return table_of_rows, len({row[0] for row in rows})


async def edge_deciles(
    connection: AsyncConnection, series: Series, model_version: str, after: datetime, until: datetime
) -> tuple[float, ...]:
    """The nine deciles of a model's edges in (after, until]; empty if it has none."""
    table = trading_signals
    levels = array([cast(literal(number / BINS), Double) for number in range(1, BINS)])
    query = select(func.percentile_cont(levels, type_=ARRAY(Double)).within_group(table.c.edge)).where(
        *_of(series, after, until), table.c.model_version == model_version, _has_probabilities()
    )
    return tuple((await connection.execute(query)).scalar_one() or ())


async def tally(
    connection: AsyncConnection,
    series: Series,
    model_version: str,
    after: datetime,
    until: datetime,
    labels_until: datetime,
    edge_bins: Sequence[float],
) -> tuple[Tally, datetime | None]:
    """A model's own signals in (after, until] with the labels of those up to `labels_until`, and its first as_of there."""
    signal = trading_signals
    edges = array([cast(literal(edge), Double) for edge in edge_bins], type_=Double) if edge_bins else None
    known = case((signal.c.as_of <= labels_until, _outcome_of_signal()), else_=null())
    own = (
        select(
            (literal(0) if edges is None else func.width_bucket(signal.c.edge, edges)).label("bin"),
            known.label("outcome"),
            *(signal.c.side, signal.c.confidence, signal.c.as_of, signal.c.p_down, signal.c.p_neutral, signal.c.p_up),
        )
        .where(*_of(series, after, until), signal.c.model_version == model_version, _has_probabilities())
        # A row is asked for its outcome once, not wherever the outcome is named.
        .offset(0)
        .subquery()
    )
    chances = {Outcome.DOWN: own.c.p_down, Outcome.NEUTRAL: own.c.p_neutral, Outcome.UP: own.c.p_up}
    said = case({int(outcome): chance for outcome, chance in chances.items()}, value=own.c.outcome)
    query = select(
        own.c.bin,
        own.c.outcome,
        func.count().label("signals"),
        func.count().filter(own.c.side == "BUY").label("buys"),
        func.count().filter(own.c.side == "SELL").label("sells"),
        _exact_sum(own.c.confidence).label("confidence"),
        _exact_sum(-func.ln(func.greatest(said, _LEAST_PROBABILITY))).label("loss"),
        func.min(own.c.as_of).label("since"),
    ).group_by(own.c.bin, own.c.outcome)
    rows = (await connection.execute(query)).all()
    counts = [0] * BINS if edge_bins else []
    outcomes = [0, 0, 0]
    for row in rows:
        if edge_bins:
            counts[row.bin] += row.signals
        if row.outcome is not None:
            outcomes[row.outcome] += row.signals
    down, neutral, up = outcomes
    found = Tally(
        signals=sum(row.signals for row in rows),
        buys=sum(row.buys for row in rows),
        sells=sum(row.sells for row in rows),
        confidence=_scaled(row.confidence for row in rows),
        edge_counts=tuple(counts),
        outcomes=(down, neutral, up),
        log_loss=_scaled(row.loss for row in rows if row.outcome is not None),
    )
    return found, min((row.since for row in rows), default=None)


def _exact_sum(value: Any) -> Any:
    return func.sum(cast(func.round(value * float(_SCALE)), BigInteger))


def _scaled(sums: Any) -> float:
    return float(sum(int(part) for part in sums if part is not None) / _SCALE)


async def newest_report(
    connection: AsyncConnection, run_id: str, model_version: str, before: datetime | None = None
) -> DriftReport | None:
    """The newest report on a model, of a bar before a time if one is given."""
    table = model_drift
    query = (
        select(table.c.model_version, table.c.as_of, table.c.report, table.c.suspended)
        .where(
            table.c.run_id == run_id,
            table.c.model_version == model_version,
            true() if before is None else table.c.as_of < before,
        )
        .order_by(table.c.as_of.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _read(row.model_version, row.as_of, row.report, row.suspended)


async def insert_report(connection: AsyncConnection, run_id: str, report: DriftReport) -> None:
    """Stores a look; one that is stored stays as it is."""
    values = {
        "run_id": run_id,
        "model_version": report.model_version,
        "as_of": report.as_of,
        "report": _document(report),
        "suspended": report.suspended,
    }
    await connection.execute(insert(model_drift).values(values).on_conflict_do_nothing())


def _document(report: DriftReport) -> dict[str, Any]:
    document = asdict(report)
    for column in ("model_version", "as_of", "suspended"):
        del document[column]
    document["features"] = {feature.name: feature.psi for feature in report.features}
    document["own_since"] = unix(report.own_since) if report.own_since else None
    return document


def _read(model_version: str, as_of: datetime, document: Mapping[str, Any], suspended: bool) -> DriftReport:
    features = tuple(FeatureDrift(name, psi) for name, psi in document["features"].items())
    since = document["own_since"]
    given = {
        **document,
        "features": tuple(sorted(features, key=lambda one: (-one.psi, one.name))),
        "own_since": utc(since) if since is not None else None,
        "edge_bins": tuple(document["edge_bins"]),
    }
    return DriftReport(model_version=model_version, as_of=as_of, suspended=suspended, **given)
