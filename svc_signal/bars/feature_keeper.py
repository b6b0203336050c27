"""Keeps the live features between bars and across restarts, in step with the stored candles.

The state is only ever a function of the candle table. Whether it was kept in memory, restored and stepped forward, or
made anew from stored candles, the rows are the same bits; what differs is what a bar costs. A state that cannot be used
costs a rebuild and is logged; it never costs a bar.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from modelkit import candle_reader
from modelkit.candles import CandleArrays
from modelkit.features.anchors import first_needed_bar
from modelkit.features.definition import feature_set_hash
from modelkit.features.live import LiveFeatures, StateRefused
from modelkit.features.live_state import unpack
from modelkit.serving import FeatureRows, latest_rows
from svc_signal.bars import feature_state
from svc_signal.bars.feature_state import SavedState, StateKey
from svc_signal.bars.intake_metrics import IntakeMetrics
from svc_signal.bars.store import BarRead, BarStore, Window
from svc_signal.settings import SignalSettings
from tradekit.bars import utc

# Further back than this, a rebuild reads and steps hardly more bars than stepping forward would.
MOST_STEPS = 168
# More products than this are cheaper made anew all together than one by one.
MOST_RECOMPUTED = 4
# Rows of a restored state that are checked against stored candles.
AUDITED_PRODUCTS = 4
_EVERYTHING = 2**62
_EMPTY = np.empty(0)
_NONE = CandleArrays(np.empty(0, dtype=np.int64), _EMPTY, _EMPTY, _EMPTY, _EMPTY, _EMPTY)


class Rebuilt(StrEnum):
    """Why the features were made anew from stored candles."""

    ABSENT = "ABSENT"
    REFUSED = "REFUSED"
    PRODUCTS = "PRODUCTS"
    TOO_OLD = "TOO_OLD"
    AHEAD = "AHEAD"
    MANY_LATE = "MANY_LATE"
    MISMATCH = "MISMATCH"


@dataclass(slots=True)
class _Held:
    """A state in use: `sequence` as in SavedState; `audit` while a restored one has not proven itself."""

    live: LiveFeatures
    sequence: int
    audit: bool

    @property
    def last_bar(self) -> int:
        assert self.live.last_bar is not None
        return self.live.last_bar


class FeatureKeeper:
    """The one state of the features of a process; its caller sees to it that one bar is asked at a time."""

    def __init__(self, settings: SignalSettings, kit: Kit[SignalSettings], store: BarStore) -> None:
        self._store = store
        self._shard = settings.shard
        self._run_id = settings.run_id
        self._granularity = settings.granularity_seconds
        self._factor = settings.factor_product
        self._log = kit.log
        self._metrics = IntakeMetrics(kit.metrics)
        self._key = StateKey(self._run_id, self._granularity, str(self._shard))
        self._held: _Held | None = None
        self._restored = False
        # What the products take from the factor each share works out for itself.
        self.products = tuple(sorted({*self._shard.of(settings.products), self._factor}))

    async def read(self, connection: AsyncConnection, bar: int) -> BarRead:
        """The candles of `bar` and those that came late, and what the tables say about the bar."""
        if self._held is None and not self._restored:
            self._held = await self._restore(connection, bar)
            self._restored = True
        self._drop_unusable(bar)
        held = self._held
        last = bar - 1 if held is None else held.last_bar
        window = Window(
            first=self._time(first_needed_bar(last) - 1),
            last=self._time(last),
            sequence=_EVERYTHING if held is None else held.sequence,
            before=self._time(bar - 1),
            until=self._time(bar),
        )
        return await self._store.read_bar(connection, self._run_id, self._granularity, self.products, window)

    async def rows(self, connection: AsyncConnection, bar: int, read: BarRead) -> FeatureRows:
        """The feature rows of `bar`, for which `read` was made just now in the same transaction."""
        held, self._held = self._held, None
        if held is not None and read.sequence < held.sequence:
            # Another candle table than the one the state was made of, such as an older copy brought back.
            self._told(Rebuilt.MISMATCH, bar)
            held = None
        if held is not None and len(read.late):
            held = await self._mend(connection, held, read)
        if held is None:
            held = await self._rebuild(connection, bar - 1)
        elif held.last_bar < bar - 1:
            await self._follow(connection, held, bar - 1)
        rows = self._advance(held, bar, read)
        held.sequence = read.sequence
        if held.audit and not await self._audit(connection, rows):
            self._told(Rebuilt.MISMATCH, bar)
            return await self.rows(connection, bar, read)
        held.audit = False
        self._held = held
        return rows

    def forget_from(self, bar: int) -> None:
        """Lets go of a state that may hold `bar`, which was not written down; the saved one is read again."""
        held = self._held
        if held is None or held.last_bar >= bar:
            self._held, self._restored = None, False

    async def save(self, connection: AsyncConnection, bar: int) -> None:
        """Writes the state down if its newest bar is `bar`: one that fell behind would only cost time."""
        held = self._held
        if held is None or held.last_bar != bar:
            return
        content = await asyncio.to_thread(held.live.dump)
        state = SavedState(feature_set_hash(self._granularity), bar, held.sequence, content)
        await feature_state.save(connection, self._key, state)

    # ---- a bar -------------------------------------------------------------------------------------------------------

    def _advance(self, held: _Held, bar: int, read: BarRead) -> FeatureRows:
        """One bar, in the arrays' own form where every candle is on the grid."""
        live, opens = held.live, bar * self._granularity
        if read.fresh.all_open_at(opens):
            start, values = read.fresh.by_place(len(self.products), opens)
            rows = live.advance_arrays(bar, start, *values)
        else:
            rows = live.advance(bar, read.fresh.by_product(self.products))
        self._metrics.take(live.counts)
        if rows.refused:
            refused = {product: {str(code): n for code, n in found.items()} for product, found in rows.refused.items()}
            self._log.warning("candles_refused", bar=self._time(bar).isoformat(), refused=refused)
        return rows

    async def _follow(self, connection: AsyncConnection, held: _Held, bar: int) -> None:
        """Steps through the bars that were missed, up to `bar`."""
        candles = await self._stored(connection, self.products, held.last_bar + 1, bar)
        await asyncio.to_thread(held.live.advance, bar, candles)
        self._metrics.take(held.live.counts)

    async def _rebuild(self, connection: AsyncConnection, bar: int) -> _Held:
        """From stored candles up to `bar`; what they lack or hold was counted when it came, but for what is refused."""
        candles = await self._stored(connection, self.products, first_needed_bar(bar), bar)
        live = await asyncio.to_thread(LiveFeatures.rebuild, candles, bar, self._granularity, self._factor)
        self._metrics.begin(live.counts)
        return _Held(live, 0, audit=False)

    async def _mend(self, connection: AsyncConnection, held: _Held, read: BarRead) -> _Held | None:
        """Late and corrected candles take effect: their products are made anew; None if all should be."""
        live, last = held.live, held.last_bar
        outdated = tuple(sorted(live.note(read.late.by_product(self.products))))
        self._metrics.take(live.counts)
        self._log.info("candles_late", candles=len(read.late), products=outdated[:20], recomputed=len(outdated))
        if len(outdated) > MOST_RECOMPUTED:
            self._told(Rebuilt.MANY_LATE, last)
            return None
        await self._recompute(connection, live, outdated, last)
        return held

    async def _recompute(
        self, connection: AsyncConnection, live: LiveFeatures, products: tuple[str, ...], last: int
    ) -> None:
        """Makes a few products anew; the factor last: what the others take from it is applied to all of them."""
        candles = await self._stored(connection, products, first_needed_bar(last), last)
        for product in sorted(products, key=lambda name: name == self._factor):
            await asyncio.to_thread(live.recompute, product, candles[product])

    async def _stored(
        self, connection: AsyncConnection, products: tuple[str, ...], first: int, last: int
    ) -> dict[str, CandleArrays]:
        """Stored candles of the bars first to last, for every product, if only empty."""
        until = self._time(last)
        found = await candle_reader.history(connection, self._granularity, products, self._time(first), until)
        return {product: found.get(product, _NONE) for product in products}

    # ---- across restarts ---------------------------------------------------------------------------------------------

    async def _restore(self, connection: AsyncConnection, bar: int) -> _Held | None:
        """The saved state, if it can be used for `bar`; products that came since are added."""
        saved = await feature_state.newest(connection, self._key)
        if saved is None:
            self._told(Rebuilt.ABSENT, bar)
            return None
        try:
            known = self._known_products(saved)
            live = await asyncio.to_thread(LiveFeatures.load, saved.content, known, self._granularity, self._factor)
        except StateRefused as refused:
            self._told(Rebuilt.REFUSED, bar, reason=refused.reason.value, detail=refused.detail)
            return None
        added = tuple(product for product in self.products if product not in known)
        if len(added) > MOST_RECOMPUTED or not set(known) <= set(self.products):
            self._told(Rebuilt.PRODUCTS, bar, added=len(added))
            return None
        if live.last_bar is None or live.last_bar != saved.last_bar:
            self._told(Rebuilt.REFUSED, bar, reason="LAST_BAR", detail="the row and its content differ")
            return None
        if added and live.last_bar < bar <= live.last_bar + MOST_STEPS:
            await self._recompute(connection, live, added, live.last_bar)
        self._log.info("features_restored", last_bar=self._time(live.last_bar).isoformat(), added=list(added))
        self._metrics.restored()
        return _Held(live, saved.candle_sequence, audit=True)

    def _known_products(self, saved: SavedState) -> tuple[str, ...]:
        """The products a saved state says it holds; whether it is whole is judged when it is loaded."""
        header, _ = unpack(saved.content)
        named = header.get("products")
        return tuple(str(product) for product in named) if isinstance(named, list) else ()

    def _drop_unusable(self, bar: int) -> None:
        if self._held is None:
            return
        steps = bar - self._held.last_bar
        if not 0 < steps <= MOST_STEPS:
            self._told(Rebuilt.AHEAD if steps <= 0 else Rebuilt.TOO_OLD, bar, steps=steps)
            self._held = None

    async def _audit(self, connection: AsyncConnection, rows: FeatureRows) -> bool:
        """Whether the first rows of a restored state are those that stored candles give, on a few products."""
        others = [product for product in self.products if product != self._factor]
        step = max(1, len(others) // AUDITED_PRODUCTS)
        chosen = (self._factor, *others[::step][:AUDITED_PRODUCTS])
        candles = await self._stored(connection, chosen, first_needed_bar(rows.bar), rows.bar)
        truth = await asyncio.to_thread(latest_rows, candles, rows.bar, self._granularity, self._factor)
        places = [rows.products.index(product) for product in truth.products]
        same = np.array_equal(truth.values, rows.values[places], equal_nan=True)
        return same and truth.reasons == tuple(rows.reasons[place] for place in places)

    def _told(self, why: Rebuilt, bar: int, **facts: object) -> None:
        """Says why the next rows come from a state made anew."""
        self._metrics.rebuilt(why)
        self._log.info("features_rebuilt", why=why.value, bar=self._time(bar).isoformat(), **facts)

    def _time(self, bar: int) -> datetime:
        return utc(bar * self._granularity)
