"""The SQL of roles, their record, and the evidence about a challenger."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Row,
    Table,
    and_,
    case,
    func,
    insert,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncResult

from schema import streams
from schema.signals import matured_labels, model_changes, model_roles, models, shadow_signals, trading_signals
from svc_signal.models.promotion import BUY, HOLD, SELL, JudgedRows
from svc_signal.models.roles import Change, ChangeKind, KnownModel, RecordedChange, Roles
from tradekit.bars import utc

# Wakes every process that keeps models when the roles have changed.
CHANNEL = "model_roles"
MOST_ROWS = 400_000
"""Two weeks of hourly bars of 1,000 products; the newest rows count."""
_CHUNK = 20


async def read_roles(connection: AsyncConnection, lock: bool = False) -> Roles:
    """The roles; with `lock` nobody else changes them until this transaction ends."""
    table = model_roles
    query = select(table.c.champion, table.c.challenger, table.c.previous)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return Roles(row.champion, row.challenger, row.previous)


async def change_roles(
    connection: AsyncConnection,
    roles: Roles,
    changes: Sequence[Change],
    caller: str = "",
    evidence: Mapping[str, Any] | None = None,
) -> list[RecordedChange]:
    """Roles and record together, and a wake-up on commit; the entries as recorded. The roles must be locked."""
    await connection.execute(update(model_roles).values(**asdict(roles), changed_at=func.now()))
    recorded = []
    for change in changes:
        row = insert(model_changes).values(
            kind=change.kind.value,
            model_version=change.version,
            previous_version=change.previous,
            caller=caller,
            note=change.note,
            evidence=dict(evidence or {}),
        )
        recorded.append(_recorded((await connection.execute(row.returning(*model_changes.c))).one()))
    await streams.notify(connection, CHANNEL)
    return recorded


async def versions_with_a_part(connection: AsyncConnection) -> frozenset[str]:
    """Every version that ever was adopted, challenged, was promoted or rolled back to."""
    query = select(model_changes.c.model_version).distinct()
    return frozenset((await connection.execute(query)).scalars())


async def list_changes(connection: AsyncConnection, limit: int) -> list[RecordedChange]:
    """The record, newest first."""
    query = select(model_changes).order_by(model_changes.c.number.desc()).limit(limit)
    return [_recorded(row) for row in await connection.execute(query)]


def _recorded(row: Row[Any]) -> RecordedChange:
    change = Change(ChangeKind(row.kind), row.model_version, row.previous_version, row.note)
    return RecordedChange(change, row.caller, row.created_at)


async def loaded_models(connection: AsyncConnection, limit: int) -> list[KnownModel]:
    """Every model that was ever loaded, the last loaded first."""
    query = select(models).order_by(models.c.last_loaded_at.desc(), models.c.model_version).limit(limit)
    return [_known(row) for row in await connection.execute(query)]


def _known(row: Row[Any]) -> KnownModel:
    trained = row.manifest["train"]
    return KnownModel(
        version=row.model_version,
        train_from=utc(int(trained["from"])),
        train_to=utc(int(trained["to"])),
        theta_buy=float(row.manifest["thresholds"]["theta_buy"]),
        manifest_sha256=row.manifest_sha256,
        first_loaded_at=row.first_loaded_at,
    )


async def rolled_back_at(connection: AsyncConnection, version: str) -> datetime | None:
    """When a model last lost the champion's place by a rollback, machine time; None if it never did."""
    query = select(func.max(model_changes.c.created_at)).where(
        model_changes.c.kind == ChangeKind.ROLLED_BACK, model_changes.c.previous_version == version
    )
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


async def shadow_since(
    connection: AsyncConnection, run_id: str, granularity: int, challenger: str, after: datetime | None
) -> datetime | None:
    """Open of the first bar that the challenger predicted, of those decided after a machine time; None before it."""
    shadow, signal = shadow_signals, trading_signals
    query = select(func.min(shadow.c.bar_start)).where(
        shadow.c.run_id == run_id, shadow.c.granularity == granularity, shadow.c.model_version == challenger
    )
    if after is not None:
        query = query.join_from(shadow, signal, _same_signal(granularity)).where(signal.c.created_at > after)
    found: datetime | None = (await connection.execute(query)).scalar_one()
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """The rows, and the first open and last close of their bars; no period without rows."""

    rows: JudgedRows
    period: tuple[datetime, datetime] | None


async def judged_rows(
    connection: AsyncConnection, run_id: str, granularity: int, challenger: str, champion: str, after: datetime | None
) -> Judged:
    """The newest rows that both models predicted and whose label has matured, of those decided after a machine time."""
    same = _same_rows(run_id, granularity, challenger, champion, after).subquery()
    # One row for each product, its columns as arrays: single rows would cost ten times more.
    columns = (func.array_agg(column) for column in same.c if column.name != "product_id")
    result = await connection.stream(select(*columns).group_by(same.c.product_id).order_by(same.c.product_id))
    parts = []
    async for number, row in _numbered(result):
        part = np.asarray(row, dtype=np.float64)
        parts.append(np.concatenate([part, np.full((1, part.shape[1]), number)]))
    found = np.concatenate(parts, axis=1).T if parts else np.empty((0, 12))
    found = found[np.isfinite(found).all(axis=1)]
    start, challenger_side, champion_side, outcome, product = (found[:, n].astype(np.int64) for n in (0, 1, 2, 3, 11))
    rows = JudgedRows(
        bar=start // granularity,
        product=product,
        challenger=found[:, 5:8],
        champion=found[:, 8:11],
        challenger_side=challenger_side,
        champion_side=champion_side,
        outcome=outcome,
        next_return=found[:, 4],
    )
    if not len(rows):
        return Judged(rows, None)
    return Judged(rows, (utc(int(start.min())), utc(int(start.max())) + timedelta(seconds=granularity)))


def _same_series(one: Table, other: Table) -> ColumnElement[bool]:
    return and_(*(one.c[name] == other.c[name] for name in ("run_id", "granularity", "product_id")))


def _same_signal(granularity: int) -> ColumnElement[bool]:
    """The signal beside a shadow, by its close, as the index of signals begins with it."""
    shadow, signal = shadow_signals, trading_signals
    return and_(signal.c.as_of == shadow.c.bar_start + timedelta(seconds=granularity), _same_series(shadow, signal))


def _same_rows(run_id: str, granularity: int, challenger: str, champion: str, after: datetime | None) -> Any:
    shadow, signal, label = shadow_signals, trading_signals, matured_labels
    return (
        select(
            shadow.c.product_id,
            func.extract("epoch", shadow.c.bar_start).cast(Double).label("start"),
            _side(shadow.c.side).label("challenger_side"),
            _side(signal.c.side).label("champion_side"),
            label.c.outcome,
            label.c.next_return,
            *(shadow.c[name].label(f"challenger_{name}") for name in ("p_down", "p_neutral", "p_up")),
            *(signal.c[name].label(f"champion_{name}") for name in ("p_down", "p_neutral", "p_up")),
        )
        .join_from(shadow, signal, _same_signal(granularity))
        .join(label, and_(label.c.bar_start == shadow.c.bar_start, _same_series(shadow, label)))
        .where(
            shadow.c.run_id == run_id,
            shadow.c.granularity == granularity,
            shadow.c.model_version == challenger,
            signal.c.model_version == champion,
            label.c.model_version == champion,
            signal.c.created_at > after if after is not None else true(),
        )
        .order_by(shadow.c.bar_start.desc(), shadow.c.product_id)
        .limit(MOST_ROWS)
    )


async def _numbered(result: AsyncResult[Any]) -> AsyncIterator[tuple[int, Sequence[Any]]]:
    """The rows with their numbers, a few at a time, so that other calls get their turn."""
    number = 0
    async for chunk in result.partitions(_CHUNK):
        for row in chunk:
            yield number, row
            number += 1


def _side(column: Any) -> Any:
    return case((column == "BUY", BUY), (column == "SELL", SELL), else_=HOLD).cast(Integer)
