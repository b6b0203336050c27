"""The price inside one candle: open, then the nearer story to low and high, then close.

A rising candle is walked open, low, high, close; a falling one open, high, low, close; each leg
takes a third of the time. That is all a candle can tell, and it is the same at every asking.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, Context, Decimal

from exchange_sim.market import Candle

_WIDE = Context(prec=40)
_VOLUME_STEP = Decimal("0.00000001")


@dataclass(frozen=True, slots=True)
class _Leg:
    begin_us: int
    end_us: int
    first: Decimal
    last: Decimal

    def at(self, offset_us: int) -> Decimal:
        share = _WIDE.divide(Decimal(offset_us - self.begin_us), Decimal(self.end_us - self.begin_us))
        return _WIDE.add(self.first, _WIDE.multiply(_WIDE.subtract(self.last, self.first), share))


def _legs(bar: Candle, length_us: int) -> Iterator[_Leg]:
    turns = (bar.low, bar.high) if bar.close >= bar.open else (bar.high, bar.low)
    points = (bar.open, *turns, bar.close)
    edges = (0, length_us // 3, 2 * length_us // 3, length_us)
    for i in range(3):
        yield _Leg(edges[i], edges[i + 1], points[i], points[i + 1])


def price_at(bar: Candle, length_us: int, offset_us: int) -> Decimal:
    """The price `offset_us` after the candle opened; the exact open at 0 and close at the end."""
    if offset_us <= 0:
        return bar.open
    for leg in _legs(bar, length_us):
        if offset_us < leg.end_us:
            return leg.at(offset_us)
    return bar.close


def partial(bar: Candle, length_us: int, offset_us: int) -> Candle:
    """The candle as it stands `offset_us` after its open: prices reached, volume so far."""
    return between(bar, length_us, 0, offset_us)


def between(bar: Candle, length_us: int, begin_us: int, end_us: int) -> Candle:
    """What of the candle lies between two offsets: prices reached, and its share of the volume, so that shares add up."""
    legs = (leg for leg in _legs(bar, length_us) if begin_us < leg.end_us and leg.begin_us < end_us)
    seen = [price_at(bar, length_us, begin_us), *(leg.last if end_us >= leg.end_us else leg.at(end_us) for leg in legs)]
    volume = _volume_until(bar, length_us, end_us) - _volume_until(bar, length_us, begin_us)
    return Candle(bar.start, seen[0], max(seen), min(seen), seen[-1], volume)


def _volume_until(bar: Candle, length_us: int, offset_us: int) -> Decimal:
    share = _WIDE.divide(Decimal(offset_us), Decimal(length_us))
    return _WIDE.multiply(bar.volume, share).quantize(_VOLUME_STEP, rounding=ROUND_DOWN)


def touch(bar: Candle, length_us: int, threshold: Decimal, falling: bool, window_us: tuple[int, int]) -> int | None:
    """First offset in the window at which the price is at or beyond the threshold.

    `falling` asks for at or below, otherwise at or above.
    """
    if (bar.low > threshold) if falling else (bar.high < threshold):
        return None
    begin, end = window_us
    for leg in _legs(bar, length_us):
        low, high = max(begin, leg.begin_us), min(end, leg.end_us)
        if low > high:
            continue
        hit = _touch_leg(leg, threshold, falling, low)
        if hit is not None and hit <= high:
            return hit
    return None


def _touch_leg(leg: _Leg, threshold: Decimal, falling: bool, begin_us: int) -> int | None:
    here = leg.at(begin_us)
    if (here <= threshold) if falling else (here >= threshold):
        return begin_us
    if (leg.last > threshold) if falling else (leg.last < threshold):
        return None
    share = _WIDE.divide(_WIDE.subtract(threshold, leg.first), _WIDE.subtract(leg.last, leg.first))
    span = Decimal(leg.end_us - leg.begin_us)
    return leg.begin_us + int(_WIDE.multiply(span, share).to_integral_value(rounding=ROUND_CEILING))
