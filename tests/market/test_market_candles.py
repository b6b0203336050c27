"""Row checks: every broken rule is found under its code, and nothing that keeps all rules is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candle_files import checks
from candle_files.checks import fault
from candle_files.rows import DAMAGED, Candle, Refusal
from svc_market.candles import NEWER_THAN_FEED, Followed, sift
from tradekit.bars import EARLIEST

patient = settings(deadline=None, max_examples=60)
NOW = datetime(2025, 6, 1, 12, 30, tzinfo=UTC)
GOOD = Candle(
    "BTC-USD",
    3600,
    datetime(2025, 6, 1, 11, tzinfo=UTC),
    *(Decimal(text) for text in ("100", "110", "90", "105", "7")),
)
amounts = st.decimals(Decimal("1e-18"), Decimal("99999999999999999999"), places=18, allow_nan=False)


@st.composite
def good_candles(draw):
    low, first, second, high = sorted(draw(st.lists(amounts, min_size=4, max_size=4)))
    bar = draw(st.integers(int(EARLIEST.timestamp()) // 3600, int(NOW.timestamp()) // 3600 - 1))
    start = datetime.fromtimestamp(bar * 3600, UTC)
    return Candle("ETH-USD", 3600, start, first, high, low, second, draw(amounts | st.just(Decimal(0))))


@patient
@given(good_candles())
def test_a_candle_that_keeps_every_rule_is_taken(candle):
    assert fault(candle, NOW) is None
    assert fault(replace(candle, open=candle.close, close=candle.open), NOW) is None


@patient
@given(good_candles(), st.sampled_from(["open", "high", "low", "close", "volume"]), st.sampled_from(["NaN", "-Inf"]))
def test_a_value_that_is_no_number_is_not_finite(candle, field, text):
    assert fault(replace(candle, **{field: Decimal(text)}), NOW) == checks.NOT_FINITE


@patient
@given(good_candles(), st.sampled_from(["open", "high", "low", "close"]), amounts | st.just(Decimal(0)))
def test_a_price_of_zero_or_below_is_refused(candle, field, amount):
    assert fault(replace(candle, **{field: -amount}), NOW) == checks.PRICE_NOT_POSITIVE


@patient
@given(good_candles(), amounts)
def test_the_high_and_the_low_hold_the_body_between_them(candle, amount):
    body_top, body_low = max(candle.open, candle.close), min(candle.open, candle.close)
    if amount < body_top:
        assert fault(replace(candle, high=amount), NOW) == checks.HIGH_BELOW_BODY
    if amount > body_low and amount <= candle.high:
        assert fault(replace(candle, low=amount), NOW) == checks.LOW_ABOVE_BODY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"product_id": "btc-usd"}, checks.PRODUCT_ID),
        ({"volume": Decimal("-0.1")}, checks.VOLUME_NEGATIVE),
        ({"volume": Decimal("1e20")}, checks.OUT_OF_RANGE),
        ({"volume": Decimal("0.0000000000000000001")}, checks.OUT_OF_RANGE),
        ({"volume": Decimal("1E-999999")}, checks.OUT_OF_RANGE),
        ({"volume": Decimal("1E+999999")}, checks.OUT_OF_RANGE),
        ({"start": GOOD.start + timedelta(minutes=1)}, checks.OFF_GRID),
        ({"start": GOOD.start + timedelta(microseconds=1)}, checks.OFF_GRID),
        ({"start": GOOD.start + timedelta(hours=1)}, checks.NOT_CLOSED),
        ({"start": GOOD.start + timedelta(hours=2)}, checks.FUTURE),
        ({"volume": Decimal("1.1000000000000000000000")}, None),
        ({"volume": Decimal("0E-30")}, None),
    ],
)
def test_each_rule_has_its_code(change, code):
    assert fault(replace(GOOD, **change), NOW) == code


@patient
@given(good_candles(), st.sampled_from(["0.01", "0.00001", "1e-8", "250"]).map(Decimal))
def test_a_price_below_one_step_of_the_products_price_is_refused_and_no_other(candle, increment):
    """Not on a step of today is no fault, nor is being far from everything else: both happen."""
    found = fault(candle, NOW, increment)
    assert found == (checks.PRICE_BELOW_INCREMENT if candle.low < increment else None)
    other = sift([candle], NOW, {"BTC-USD": Decimal("1e19")})
    assert other.good == (candle,)


def test_a_bar_is_closed_at_its_close_and_not_before():
    close = GOOD.start + timedelta(hours=1)
    assert fault(GOOD, close) is None
    assert fault(GOOD, close - timedelta(microseconds=1)) == checks.NOT_CLOSED


@pytest.mark.parametrize(
    ("change", "told_until", "code"),
    [
        ({}, timedelta(hours=1), None),
        ({}, timedelta(0), NEWER_THAN_FEED),
        ({"product_id": "ETH-USD"}, timedelta(0), None),
        ({"granularity": 300}, timedelta(0), None),
        ({"volume": Decimal(-1)}, timedelta(0), checks.VOLUME_NEGATIVE),
        ({"start": GOOD.start + timedelta(hours=2)}, timedelta(0), checks.FUTURE),
    ],
)
def test_what_the_exchange_has_yet_to_tell_nobody_else_tells(change, told_until, code):
    followed = Followed(frozenset({"BTC-USD"}), 3600, GOOD.start + told_until)
    sifted = sift([replace(GOOD, **change)], NOW, {}, followed)
    assert [refusal.code for refusal in sifted.refused] == ([code] if code else [])
    assert len(sifted.good) == (code is None)


@patient
@given(st.lists(good_candles() | st.just(GOOD) | st.just(replace(GOOD, volume=Decimal(8))), max_size=20))
def test_every_row_has_one_fate(rows):
    sifted = sift(rows, NOW, {})
    assert len(sifted.good) + len(sifted.refused) + len(sifted.again) == len(rows)
    assert len({candle.key for candle in sifted.good}) == len(sifted.good)


def test_the_first_of_two_rows_of_one_bar_counts():
    same, other = replace(GOOD, volume=Decimal("7.0")), replace(GOOD, volume=Decimal(8))
    sifted = sift([GOOD, same, other, Refusal(DAMAGED, "", "x")], NOW, {})
    assert (sifted.good, sifted.again) == ((GOOD,), (same, other))
    assert [refusal.code for refusal in sifted.refused] == [DAMAGED]
