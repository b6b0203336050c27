"""The SQL of what the bridge decides by: products, clocks, and how far signals have been decided, as of one moment."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Integer, Select, Text, bindparam, exists, select
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.dedicated import Connection
from schema.clocks import CLOCK_COLUMNS, Clocks
from schema.given_rows import given_rows
from schema.operations import watermarks
from schema.recommendations import trade_recommendations
from schema.streams import MARKET_DUE
from schema.views.bridge import bridge_candles, bridge_model_labels, bridge_positions, bridge_products
from svc_bridge.exit_plan import LabelTerms
from svc_bridge.proposal import ProductState
from svc_bridge.standstill import MarketProgress
from tradekit.sizes import NO_BASE
from tradekit.states import RECOMMENDATION_TERMINAL, RecommendationState, Side
from tradekit.units import ProductId

_T = trade_recommendations
_OPEN = [state.value for state in RecommendationState if state not in RECOMMENDATION_TERMINAL]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tables say at one moment: each product asked about, the clocks, how the market gets on, and how far signals have
    been decided."""

    products: Mapping[ProductId, ProductState]
    clocks: Clocks
    market: MarketProgress
    signals_as_of: datetime | None


def _facts() -> Select[Any]:
    """One row per product that is asked about; a subquery for each fact, so that every one is a look into an index."""
    asked = given_rows({"product_id": Text}, "asked")
    wanted = asked.c.product_id
    candle, of_product = bridge_candles.c, _T.c.product_id == wanted
    last_close = (
        select(candle.close)
        .where(candle.product_id == wanted, candle.granularity == bindparam("granularity", type_=Integer))
        .order_by(candle.start.desc())
        .limit(1)
    )
    last_buy = select(_T.c.as_of).where(of_product, _T.c.side == Side.BUY.value).order_by(_T.c.as_of.desc()).limit(1)

    def is_open(side: Side) -> ColumnElement[bool]:
        # Written out: the index of what is open serves no state that is not known when the statement is planned.
        states: BindParameter[str] = bindparam("open", _OPEN, expanding=True, literal_execute=True)
        return exists(select(_T.c.state).where(of_product, _T.c.side == side.value, _T.c.state.in_(states)))

    signals = select(watermarks.c.as_of).where(watermarks.c.stage == "signal")
    due = select(watermarks.c.as_of).where(watermarks.c.stage == MARKET_DUE)
    moved = select(watermarks.c.updated_at).where(watermarks.c.stage == "market")
    return (
        select(
            wanted,
            bridge_products.c.base_increment,
            bridge_positions.c.base_size,
            bridge_positions.c.cost,
            last_close.scalar_subquery().label("last_close"),
            last_buy.scalar_subquery().label("last_buy_as_of"),
            is_open(Side.BUY).label("open_buy"),
            is_open(Side.SELL).label("open_sell"),
            signals.scalar_subquery().label("signals_as_of"),
            due.scalar_subquery().label("market_due"),
            moved.scalar_subquery().label("market_moved_at"),
            *CLOCK_COLUMNS,
        )
        .select_from(asked)
        .outerjoin(bridge_products, bridge_products.c.product_id == wanted)
        .outerjoin(bridge_positions, bridge_positions.c.product_id == wanted)
    )


_FACTS = _facts()


async def read_facts(connection: Connection, product_ids: Sequence[ProductId], granularity: int) -> Facts:
    """What the tables say of these products now, and of the time, in one statement. At least one product."""
    given = {"product_id": list(product_ids), "granularity": granularity}
    rows = (await connection.execute(_FACTS, given)).all()
    products = {
        row.product_id: ProductState(
            held=row.base_size if row.base_size is not None else NO_BASE,
            base_increment=row.base_increment,
            open_buy=row.open_buy,
            open_sell=row.open_sell,
            last_buy_as_of=row.last_buy_as_of,
            cost=row.cost,
            last_close=row.last_close,
        )
        for row in rows
    }
    first = rows[0]
    progress = MarketProgress(first.market_due, first.market_moved_at)
    return Facts(products, Clocks(first.machine, first.market), progress, first.signals_as_of)


class ModelLabels:
    """What the labels of models mean, by version: each is read once, as a version never changes."""

    def __init__(self) -> None:
        self._known: dict[str, LabelTerms] = {}

    async def of(self, connection: AsyncConnection, versions: Collection[str]) -> Mapping[str, LabelTerms]:
        """Of these versions; one that nobody knows is absent."""
        missing = [version for version in versions if version not in self._known]
        if missing:
            query = select(bridge_model_labels).where(bridge_model_labels.c.model_version.in_(missing))
            for row in (await connection.execute(query)).all():
                self._known[row.model_version] = LabelTerms(row.barrier_width, row.horizon_bars)
        return {version: self._known[version] for version in versions if version in self._known}
