"""Live intake against the window computation: whatever arrives and whenever, the rows are the same bits."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkit.candles import CandleArrays
from modelkit.features.anchors import first_needed_bar
from modelkit.features.cleaning import Refusal
from modelkit.features.live import LiveFeatures, StateFault, StateRefused
from modelkit.serving import FeatureRows, latest_rows
from tests.signal.signal_series import FIRST_BAR, HOUR, synthetic

BTC = "BTC-USD"
Candles = dict[str, CandleArrays]
SLOW = settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def bits(rows: FeatureRows) -> list[bytes]:
    return [np.ascontiguousarray(column).tobytes() for column in (rows.values, rows.sd_24, rows.sd_168)]


def assert_same(live: FeatureRows, reference: FeatureRows) -> None:
    assert live.products == reference.products
    assert live.reasons == reference.reasons
    assert live.ready.tolist() == reference.ready.tolist()
    assert live.bars_since_candle.tolist() == reference.bars_since_candle.tolist()
    assert bits(live) == bits(reference)


def at(candles: Candles, first: int, last: int) -> Candles:
    """Candles of the bars [first, last]."""
    return {
        name: rows.take((rows.start >= first * HOUR) & (rows.start <= last * HOUR)) for name, rows in candles.items()
    }


def needed(candles: Candles, bar: int) -> Candles:
    return at(candles, first_needed_bar(bar), bar)


def without(rows: CandleArrays, bars: list[tuple[int, int]]) -> CandleArrays:
    """Rows without those of (bar, count) stretches."""
    keep = np.ones(len(rows), dtype=np.bool_)
    for bar, count in bars:
        keep &= (rows.start < bar * HOUR) | (rows.start >= (bar + count) * HOUR)
    return rows.take(keep)


def joined(*parts: CandleArrays) -> CandleArrays:
    names = ("start", "open", "high", "low", "close", "volume")
    return CandleArrays(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def spoilt(rows: CandleArrays, kind: int) -> CandleArrays:
    """The same candles, each with a fault."""
    faults = {
        0: {"close": np.full(len(rows), np.nan)},
        1: {"low": -rows.low},
        2: {"volume": -rows.volume - 1.0},
        3: {"high": rows.low * 0.5},
        4: {"low": rows.high * 2.0},
        5: {"start": rows.start + 7},
        6: {"open": np.full(len(rows), np.inf)},
    }
    return replace(rows, **faults[kind])


BARS = 680
BAR = st.integers(FIRST_BAR + 1, FIRST_BAR + BARS - 1)
GAPS = st.lists(st.tuples(BAR, st.integers(1, 15)), max_size=5)
EVENT = st.sampled_from(["refuse", "late", "correct", "restart", "rebuild", "twice", "pause", "spoilt correction"])


@SLOW
@given(
    gaps=st.lists(GAPS, min_size=4, max_size=4),
    starts=st.lists(st.integers(0, 300), min_size=4, max_size=4),
    events=st.lists(
        st.tuples(BAR, EVENT, st.integers(0, 3), st.integers(0, 6), st.integers(1, 40)), min_size=4, max_size=14
    ),
    seed=st.integers(0, 99),
)
def test_any_history_of_gaps_refusals_and_corrections_gives_the_bits_of_the_window(
    gaps: list[list[tuple[int, int]]],
    starts: list[int],
    events: list[tuple[int, str, int, int, int]],
    seed: int,
) -> None:
    whole = synthetic(4, BARS, seed)
    names = tuple(whole)
    for name, stretches, begin in zip(names, gaps, starts, strict=True):
        whole[name] = without(whole[name], [*stretches, (FIRST_BAR, begin if name != BTC else 0)])
    stored: Candles = {name: rows.take(np.arange(0)) for name, rows in whole.items()}
    live = LiveFeatures(names, HOUR, BTC)
    pauses = 0
    for bar in range(FIRST_BAR, FIRST_BAR + BARS):
        due = [event for event in events if event[0] == bar]
        arriving = at(whole, bar, bar)
        for _, kind, number, fault, back in due:
            name = names[number]
            if kind == "refuse":
                arriving[name] = spoilt(arriving[name], fault)
            if kind == "spoilt correction":
                arriving[name] = joined(arriving[name], spoilt(arriving[name], fault))
            if kind == "twice":
                arriving[name] = joined(replace(arriving[name], volume=arriving[name].volume * 3.0), arriving[name])
            if kind == "pause":
                pauses = back % 14
        stored = {name: joined(stored[name], arriving[name]) for name in names}
        if live.last_bar is not None:
            for _, kind, number, _, back in due:
                name = names[number]
                if kind in ("late", "correct"):
                    older = at(whole, bar - back, bar - back)[name]
                    stored[name] = joined(stored[name], replace(older, volume=older.volume * 1.5))
                    live.recompute(name, needed(stored, live.last_bar)[name])
                if kind == "restart":
                    live = LiveFeatures.load(live.dump(), names, HOUR, BTC)
                if kind == "rebuild":
                    live = LiveFeatures.rebuild(needed(stored, live.last_bar), live.last_bar, HOUR, BTC)
        if pauses > 0:
            pauses -= 1
            continue
        first = bar if live.last_bar is None else live.last_bar + 1
        rows = live.advance(bar, at(stored, first, bar))
        if due or bar % 23 == 0 or bar == FIRST_BAR + BARS - 1:
            assert_same(rows, latest_rows(needed(stored, bar), bar, HOUR, BTC))


def warmed(products: int = 3, bars: int = 420) -> tuple[LiveFeatures, Candles]:
    candles = synthetic(products, bars + 50)
    last = FIRST_BAR + bars - 1
    return LiveFeatures.rebuild(at(candles, FIRST_BAR, last), last, HOUR, BTC), candles


def test_a_saved_state_goes_on_with_the_same_bits_and_saves_the_same_bytes() -> None:
    live, candles = warmed()
    saved = live.dump()
    other = LiveFeatures.load(saved, candles, HOUR, BTC)
    assert other.dump() == saved
    for bar in range(FIRST_BAR + 420, FIRST_BAR + 450):
        assert_same(other.advance(bar, at(candles, bar, bar)), live.advance(bar, at(candles, bar, bar)))


def resealed(content: bytes, **changes: object) -> bytes:
    """A state with another header and a checksum that fits it: what somebody with the format at hand would write."""
    length = struct.unpack_from("<8sII", content)[2]
    header = json.loads(content[16 : 16 + length]) | changes
    text = json.dumps(header).encode()
    body = struct.pack("<8sII", b"FS51LIVE", 2, len(text)) + text + content[16 + length : -32]
    return body + hashlib.sha256(body).digest()


def test_states_that_do_not_fit_are_refused_with_a_reason() -> None:
    live, candles = warmed()
    content = live.dump()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    newer = b"FS51LIVE" + struct.pack("<I", 9) + content[12:]
    cases = [
        (b"", StateFault.NOT_A_STATE),
        (b"\x80\x04cos\nsystem\n." * 40, StateFault.NOT_A_STATE),
        (content[:-1], StateFault.CHECKSUM),
        (content + b"x", StateFault.CHECKSUM),
        (bytes(flipped), StateFault.CHECKSUM),
        (newer, StateFault.VERSION),
        (resealed(content, feature_set="0" * 64), StateFault.FEATURE_SET),
        (resealed(content, products=["BTC-USD"]), StateFault.PRODUCTS),
        (resealed(content, factor_product="ETH-USD"), StateFault.FACTOR),
        (resealed(content, last_bar="7"), StateFault.HEADER),
        (resealed(content, last_bar=True), StateFault.HEADER),
        (resealed(content, factor_run=-1), StateFault.HEADER),
        (resealed(content[:-40] + content[-32:]), StateFault.SIZE),
    ]
    for hostile, reason in cases:
        with pytest.raises(StateRefused) as refused:
            LiveFeatures.load(hostile, candles, HOUR, BTC)
        assert refused.value.reason is reason
    with pytest.raises(StateRefused) as refused:
        LiveFeatures.load(content, candles, 900, BTC)
    assert refused.value.reason is StateFault.FEATURE_SET  # its hash covers the granularity


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_bytes_crash_the_loading(data: st.DataObject) -> None:
    content = SAVED
    cut = data.draw(st.integers(0, len(content)))
    kind = data.draw(st.sampled_from(["cut", "flip", "noise", "header"]))
    if kind == "cut":
        content = content[:cut]
    if kind == "flip":
        content = content[: cut - 1] + bytes([content[cut - 1] ^ 255]) + content[cut:] if cut else b""
    if kind == "noise":
        content = content[:16] + data.draw(st.binary(max_size=200))
    if kind == "header":
        text = data.draw(st.one_of(st.binary(max_size=60), st.just(b"[" * 100_000)))
        body = struct.pack("<8sII", b"FS51LIVE", 2, len(text)) + text
        content = body + hashlib.sha256(body).digest()
    try:
        loaded = LiveFeatures.load(content, (BTC,), HOUR, BTC)
    except StateRefused as refused:
        assert refused.reason in StateFault
    else:
        assert loaded.dump() == SAVED


SAVED = LiveFeatures((BTC,), HOUR, BTC).dump()


def test_each_kind_of_arrival_is_counted() -> None:
    live, candles = warmed()
    bar = FIRST_BAR + 420
    now, names = at(candles, bar, bar + 1), tuple(candles)
    now[names[1]] = spoilt(now[names[1]], 3)
    now["OTHER-USD"] = now[BTC]
    rows = live.advance(bar, now)
    assert rows.refused == {names[1]: {Refusal.HIGH_TOO_LOW: 2}}
    assert (live.counts.future, live.counts.unknown, live.counts.filled) == (2, 2, 1)
    assert dict(live.counts.refused) == {Refusal.HIGH_TOO_LOW: 2}
    again = at(candles, bar, bar)
    again[names[2]] = replace(again[names[2]], volume=again[names[2]].volume + 1.0)
    assert live.note(again) == {names[1], names[2]}
    assert (live.counts.duplicate, live.counts.corrected, live.counts.late) == (1, 1, 1)
    for product in sorted(live.outdated):
        stored = joined(at(candles, FIRST_BAR, bar)[product], again[product])
        live.recompute(product, stored)
    assert not live.outdated
    candles[names[2]] = joined(candles[names[2]], again[names[2]])
    for later in range(bar + 1, bar + 4):
        rows = live.advance(later, at(candles, later, later))
        assert_same(rows, latest_rows(needed(candles, later), later, HOUR, BTC))


def test_thirteen_missing_bars_reset_a_product_and_twelve_do_not() -> None:
    for missing, resets in ((12, 0), (13, 1)):
        live, candles = warmed(3, 400)
        candles["C01-USD"] = without(candles["C01-USD"], [(FIRST_BAR + 400, missing)])
        for bar in range(FIRST_BAR + 400, FIRST_BAR + 420):
            assert_same(live.advance(bar, at(candles, bar, bar)), latest_rows(needed(candles, bar), bar, HOUR, BTC))
        assert live.counts.resets == resets
        assert live.counts.filled == 12


def test_a_product_added_later_takes_its_place_with_its_history() -> None:
    candles = synthetic(4, 480)
    names = tuple(candles)
    live = LiveFeatures((names[0], names[3]), HOUR, BTC)
    for bar in range(FIRST_BAR, FIRST_BAR + 440):
        live.advance(bar, {name: at(candles, bar, bar)[name] for name in live.products})
    live.recompute(names[1], needed(candles, FIRST_BAR + 439)[names[1]])
    live.recompute(names[2], needed(candles, FIRST_BAR + 439)[names[2]])
    assert live.products == names
    for bar in range(FIRST_BAR + 440, FIRST_BAR + 460):
        assert_same(live.advance(bar, at(candles, bar, bar)), latest_rows(needed(candles, bar), bar, HOUR, BTC))


@pytest.mark.parametrize("away", [5, 14, 400, 900])
def test_after_an_outage_the_rows_are_those_of_the_window(away: int) -> None:
    candles = synthetic(2, 1400)
    live = LiveFeatures(candles, HOUR, BTC)
    first = FIRST_BAR + 380
    for bar in range(FIRST_BAR, first):
        live.advance(bar, at(candles, bar, bar))
    bar = first + away
    given_back = at(candles, max(first, first_needed_bar(bar)), bar)
    rows = live.advance(bar, given_back)
    assert rows.ready.all()
    assert_same(rows, latest_rows(needed(candles, bar), bar, HOUR, BTC))


def test_candles_as_arrays_give_the_rows_of_candles_by_product() -> None:
    live, candles = warmed()
    other = LiveFeatures.load(live.dump(), candles, HOUR, BTC)
    names = ("open", "high", "low", "close", "volume")
    for bar in range(FIRST_BAR + 420, FIRST_BAR + 430):
        now = at(candles, bar, bar)
        if bar % 3 == 0:
            now["C01-USD"] = now["C01-USD"].take(np.arange(0))
        if bar % 4 == 0:
            now["C02-USD"] = spoilt(now["C02-USD"], 1)
        columns = np.full((5, 3), np.nan)
        for place, rows in enumerate(now.values()):
            if len(rows):
                columns[:, place] = [getattr(rows, name)[0] for name in names]
        rows = other.advance_arrays(bar, np.full(3, bar * HOUR), *columns)
        assert_same(rows, live.advance(bar, now))
    assert other.counts == live.counts
