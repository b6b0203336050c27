"""The SQL of what became of the signals: outcomes, and what a drift check reads and leaves behind."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Double,
    SmallInteger,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    select,
    true,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import NullType

from modelkit.candles import FloatArray
from modelkit.labels import Outcome
from schema.base import Time
from schema.signals import matured_labels, model_drift, models, trading_signals
from svc_signal.drift.measures import BINS, SCALE, DriftReport, FeatureDrift, Tally
from svc_signal.drift.outcomes import MaturedLabel
from tradekit.bars import unix, utc

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
    """Signals with as_of in (after, until], by the index that begins with it."""
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


async def insert_labels(connection: AsyncConnection, series: Series, labels: Sequence[MaturedLabel]) -> None:
    """Stores outcomes; one that is stored stays as it is."""
    # As columns of one statement: row by row, a day of a thousand products would take longer than the bar after it can wait.
    columns: dict[str, tuple[Any, list[Any]]] = {
        "bar_start": (Time, [utc(label.bar * series.granularity) for label in labels]),
        "product_id": (Text, [label.product_id for label in labels]),
        "model_version": (Text, [label.model_version for label in labels]),
        "outcome": (SmallInteger, [int(label.outcome) for label in labels]),
        "next_return": (Double, [label.next_return for label in labels]),
    }
    given = func.unnest(*(bindparam(name, values, ARRAY(kind)) for name, (kind, values) in columns.items()))
    rows = given.table_valued(*columns).render_derived("given")
    query = select(literal(series.run_id), literal(series.granularity), *(rows.c[name] for name in columns))
    await connection.execute(
        insert(matured_labels).from_select(["run_id", "granularity", *columns], query).on_conflict_do_nothing()
    )


async def feature_rows(
    connection: AsyncConnection, series: Series, feature_set_hash: str, wanted: Sequence[tuple[str, datetime]]
) -> tuple[FloatArray, int]:
    """Feature rows (n, 51) of these products and open times, where there are any; and of how many bars they are."""
    table = trading_signals
    names = bindparam("names", [product for product, _ in wanted], ARRAY(Text))
    closes = bindparam("closes", [start + timedelta(seconds=series.granularity) for _, start in wanted], ARRAY(Time))
    key = func.unnest(names, closes).table_valued("product_id", "as_of").render_derived("key")
    # Row by row, by the key: bars of a thousand products are far more than what is looked at.
    row = (
        select(table.c.features)
        .where(
            table.c.as_of == key.c.as_of,
            table.c.product_id == key.c.product_id,
            table.c.run_id == series.run_id,
            table.c.granularity == series.granularity,
            table.c.feature_set_hash == feature_set_hash,
            func.cardinality(table.c.features) > 0,
        )
        .limit(1)
        .lateral("row")
    )
    # As they come: the type of the column would walk through each of them in Python.
    query = select(key.c.as_of, type_coerce(row.c.features, NullType())).select_from(key.join(row, true()))
    rows = (await connection.execute(query)).all()
    return np.asarray([found[1] for found in rows], dtype=np.float64), len({found[0] for found in rows})


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
    signals: tuple[datetime, datetime],
    labels: tuple[datetime, datetime],
    edge_bins: Sequence[float],
) -> tuple[Tally, datetime | None]:
    """A model's own signals, and the labels of its signals, each with as_of in (after, until]; and the first as_of of
    the signals."""
    table = trading_signals
    edges = array([cast(literal(edge), Double) for edge in edge_bins], type_=Double) if edge_bins else None
    bin_of = (literal(0) if edges is None else func.width_bucket(table.c.edge, edges)).label("bin")
    query = (
        select(
            bin_of,
            func.count().label("signals"),
            func.count().filter(table.c.side == "BUY").label("buys"),
            func.count().filter(table.c.side == "SELL").label("sells"),
            _exact_sum(table.c.confidence).label("confidence"),
            func.min(table.c.as_of).label("since"),
        )
        .where(*_of(series, *signals), table.c.model_version == model_version, _has_probabilities())
        .group_by("bin")
    )
    rows = (await connection.execute(query)).all()
    counts = [0] * BINS if edge_bins else []
    if edge_bins:
        for row in rows:
            counts[row.bin] = row.signals
    outcomes, loss = await _labels(connection, series, model_version, *labels)
    found = Tally(
        signals=sum(row.signals for row in rows),
        buys=sum(row.buys for row in rows),
        sells=sum(row.sells for row in rows),
        confidence=sum(int(row.confidence) for row in rows),
        edge_counts=tuple(counts),
        outcomes=outcomes,
        loss=loss,
    )
    return found, min((row.since for row in rows), default=None)


async def _labels(
    connection: AsyncConnection, series: Series, model_version: str, after: datetime, until: datetime
) -> tuple[tuple[int, ...], int]:
    """How often each outcome came, and the sum of the losses, of a model's signals with as_of in (after, until]."""
    table = trading_signals
    own = (
        select(_outcome_of_signal().label("outcome"), table.c.p_down, table.c.p_neutral, table.c.p_up)
        .where(*_of(series, after, until), table.c.model_version == model_version, _has_probabilities())
        # A row is asked for its outcome once, not wherever the outcome is named.
        .offset(0)
        .subquery()
    )
    chances = {Outcome.DOWN: own.c.p_down, Outcome.NEUTRAL: own.c.p_neutral, Outcome.UP: own.c.p_up}
    said = case({int(outcome): chance for outcome, chance in chances.items()}, value=own.c.outcome)
    loss = _exact_sum(-func.ln(func.greatest(said, _LEAST_PROBABILITY)))
    query = select(own.c.outcome, func.count(), loss).where(own.c.outcome.is_not(None)).group_by(own.c.outcome)
    rows = (await connection.execute(query)).all()
    counts = {outcome: count for outcome, count, _ in rows}
    return tuple(counts.get(int(outcome), 0) for outcome in Outcome), sum(int(row[2]) for row in rows)


def _exact_sum(value: Any) -> Any:
    """Integer parts: PostgreSQL adds floats in whatever order it likes."""
    return func.sum(cast(func.round(value * float(SCALE)), BigInteger))


async def parts(
    connection: AsyncConnection, run_id: str, model_version: str, after: datetime, before: datetime
) -> list[Tally]:
    """What the drift checks of a model in (after, before) added, oldest first."""
    table = model_drift
    query = (
        select(table.c.report["part"])
        .where(
            table.c.run_id == run_id,
            table.c.model_version == model_version,
            table.c.as_of > after,
            table.c.as_of < before,
        )
        .order_by(table.c.as_of)
    )
    return [_tally(document) for document in (await connection.execute(query)).scalars()]


async def newest_report(
    connection: AsyncConnection, run_id: str, model_version: str, before: datetime
) -> DriftReport | None:
    """The newest report on a model, of a bar before a time."""
    table = model_drift
    query = (
        select(table.c.model_version, table.c.as_of, table.c.report, table.c.suspended)
        .where(
            table.c.run_id == run_id,
            table.c.model_version == model_version,
            table.c.as_of < before,
        )
        .order_by(table.c.as_of.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _read(row.model_version, row.as_of, row.report, row.suspended)


async def insert_report(connection: AsyncConnection, run_id: str, report: DriftReport) -> None:
    """Stores a check; one that is stored stays as it is."""
    values = {
        "run_id": run_id,
        "model_version": report.model_version,
        "as_of": report.as_of,
        "report": _document(report),
        "suspended": report.suspended,
    }
    await connection.execute(insert(model_drift).values(values).on_conflict_do_nothing())


def _document(report: DriftReport) -> dict[str, Any]:
    columns = ("model_version", "as_of", "suspended")
    document = {field.name: getattr(report, field.name) for field in fields(report) if field.name not in columns}
    document["features"] = {feature.name: feature.psi for feature in report.features}
    document["own_since"] = unix(report.own_since) if report.own_since else None
    document["part"] = asdict(report.part)
    return document


def _tally(document: Mapping[str, Any]) -> Tally:
    given: dict[str, Any] = {**document, **{name: tuple(document[name]) for name in ("edge_counts", "outcomes")}}
    return Tally(**given)


def _read(model_version: str, as_of: datetime, document: Mapping[str, Any], suspended: bool) -> DriftReport:
    features = tuple(FeatureDrift(name, psi) for name, psi in document["features"].items())
    since = document["own_since"]
    given = {
        **document,
        "features": tuple(sorted(features, key=lambda one: (-one.psi, one.name))),
        "own_since": utc(since) if since is not None else None,
        "edge_bins": tuple(document["edge_bins"]),
        "part": _tally(document["part"]),
    }
    return DriftReport(model_version=model_version, as_of=as_of, suspended=suspended, **given)
