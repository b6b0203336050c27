"""The SQL of the signal service's answers: its signals and models."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from schema.signals import SIGNAL_NUMBERS, models, trading_signals
from svc_signal.stored_signal import Shared, StoredSignal
from tradekit.states import Profile, SignalSide


def _signals(whole: bool = False) -> Select[Any]:
    """Signals in the form that messages take: ids, prices and reasons as text; HOLDs with features only if `whole`."""
    table = trading_signals
    none: ColumnElement[Any] = literal_column("'{}'::float8[]")
    features = (
        table.c.features if whole else case((table.c.side == SignalSide.HOLD.value, none), else_=table.c.features)
    )
    return select(
        cast(table.c.signal_id, Text).label("signal_id"),
        *(table.c.product_id, table.c.granularity, table.c.bar_start, table.c.as_of, table.c.side),
        *(table.c[name] for name in SIGNAL_NUMBERS),
        *(table.c.model_version, table.c.feature_set_hash, table.c.profile, table.c.sequence),
        cast(func.trim_scale(table.c.reference_price), Text).label("reference_price"),
        cast(table.c.reasons, Text).label("reasons"),
        features.label("features"),
    )


def _stored(row: Row[Any]) -> StoredSignal:
    found = row._mapping
    return StoredSignal(
        signal_id=row.signal_id,
        product_id=row.product_id,
        sequence=row.sequence,
        numbers=tuple(found[name] for name in SIGNAL_NUMBERS),
        reference_price=row.reference_price,
        features=row.features,
        shared=Shared(
            granularity=row.granularity,
            bar_start=row.bar_start,
            as_of=row.as_of,
            side=SignalSide(row.side),
            model_version=row.model_version,
            feature_set_hash=row.feature_set_hash,
            profile=Profile(row.profile),
            reasons=row.reasons,
        ),
    )


async def signals_of_bar(
    connection: AsyncConnection, run_id: str, granularity: int, start: datetime
) -> list[StoredSignal]:
    """Stored signals of a bar, by product."""
    table = trading_signals
    query = (
        _signals()
        .where(table.c.as_of == start + timedelta(seconds=granularity))
        .where(table.c.run_id == run_id, table.c.granularity == granularity)
        .order_by(table.c.product_id)
    )
    return [_stored(row) for row in await connection.execute(query)]


async def get_signal(connection: AsyncConnection, signal_id: UUID) -> StoredSignal | None:
    """One signal, None if there is none."""
    query = _signals(whole=True).where(trading_signals.c.signal_id == signal_id)
    row = (await connection.execute(query)).one_or_none()
    return _stored(row) if row is not None else None


async def list_signals(
    connection: AsyncConnection,
    product_id: str | None,
    side: str | None,
    before: tuple[datetime, str, UUID] | None,
    limit: int,
) -> list[StoredSignal]:
    """Signals by newest bar, then product, then id; those after position `before`."""
    table = trading_signals
    conditions = []
    if product_id:
        conditions.append(table.c.product_id == product_id)
    if side:
        conditions.append(table.c.side == side)
    if before:
        conditions.append(
            or_(
                table.c.as_of < before[0],
                and_(table.c.as_of == before[0], tuple_(table.c.product_id, table.c.signal_id) > before[1:]),
            )
        )
    order = (table.c.as_of.desc(), table.c.product_id, table.c.signal_id)
    query = _signals().where(*conditions).order_by(*order).limit(limit)
    return [_stored(row) for row in await connection.execute(query)]


async def signals_after(connection: AsyncConnection, sequence: int, limit: int) -> list[StoredSignal]:
    """Signals in the order of their sequence, for watchers."""
    table = trading_signals
    query = _signals().where(table.c.sequence > sequence).order_by(table.c.sequence).limit(limit)
    return [_stored(row) for row in await connection.execute(query)]


async def head_sequence(connection: AsyncConnection) -> int:
    """Sequence of the newest signal, 0 if there is none."""
    return (await connection.execute(select(func.max(trading_signals.c.sequence)))).scalar_one() or 0


async def record_model(connection: AsyncConnection, version: str, manifest: Mapping[str, Any], sha256: str) -> None:
    """Remembers that a model was loaded."""
    table = models
    row = insert(table).values(model_version=version, manifest=dict(manifest), manifest_sha256=sha256)
    await connection.execute(
        row.on_conflict_do_update(index_elements=[table.c.model_version], set_={"last_loaded_at": func.now()})
    )
