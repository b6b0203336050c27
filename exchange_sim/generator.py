"""The mathematics of the generated market: one chunk of five-minute returns from a seed.

A chunk is a fixed stretch of absolute time, and its noise depends on (seed, stream, chunk) alone,
so it is the same whenever it is asked for. Prices are not a pure random walk: drift comes in
regimes that last for days (an edge that momentum features can find), volatility clusters, all
products share one market factor, shocks have fat tails, and volume follows the hour of the day.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

STEP_SECONDS = 300
CHUNK_STEPS = 9216  # 32 days
CHUNK_SECONDS = STEP_SECONDS * CHUNK_STEPS
_STEPS_PER_HOUR = 12
_STEPS_PER_DAY = 288

# A trend moves the price by this many standard deviations of an ordinary hour, each hour.
_TREND_PER_HOUR = 0.30
_QUIET_VOLATILITY = 0.6
_REGIME_MEAN_STEPS = 60 * _STEPS_PER_HOUR
_REGIME_LEAST_STEPS = 12 * _STEPS_PER_HOUR
_REGIME_ODDS = (0.3, 0.4, 0.3)  # falling, quiet, rising
_TAIL_DEGREES = 4
_VOLATILITY_MEMORY_PER_HOUR = 0.96
_VOLATILITY_SPREAD = 0.35

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Factor:
    """A series of returns in units of its ordinary five-minute standard deviation."""

    returns: Floats
    volatility: Floats


@dataclass(frozen=True, slots=True)
class Motion:
    """One product's chunk: log returns, room for wicks, and volume in base units."""

    returns: Floats
    wick_up: Floats
    wick_down: Floats
    volume: Floats


def _stream(seed: int, name: str, chunk: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode()), chunk])))


def _regimes(rng: np.random.Generator) -> Floats:
    count = CHUNK_STEPS // _REGIME_LEAST_STEPS + 1
    lengths = np.maximum(_REGIME_LEAST_STEPS, rng.exponential(_REGIME_MEAN_STEPS, count)).astype(np.int64)
    states = rng.choice(np.array([-1.0, 0.0, 1.0]), size=count, p=_REGIME_ODDS)
    return np.repeat(states, lengths)[:CHUNK_STEPS]


def _volatility(rng: np.random.Generator) -> Floats:
    """Log-normal and slow: an AR(1) of the logarithm by the hour, drawn smoothly between hours."""
    hours = CHUNK_STEPS // _STEPS_PER_HOUR + 1
    shocks = rng.standard_normal(hours) * np.sqrt(1 - _VOLATILITY_MEMORY_PER_HOUR**2)
    level = np.empty(hours)
    level[0] = rng.standard_normal()
    for i in range(1, hours):
        level[i] = _VOLATILITY_MEMORY_PER_HOUR * level[i - 1] + shocks[i]
    steps = np.arange(CHUNK_STEPS) / _STEPS_PER_HOUR
    return np.exp(_VOLATILITY_SPREAD * np.interp(steps, np.arange(hours), level))


def factor(seed: int, name: str, chunk: int) -> Factor:
    """The series of one source of movement: the whole market, or what is a product's own."""
    rng = _stream(seed, name, chunk)
    regime = _regimes(rng)
    volatility = _volatility(rng) * np.where(regime == 0, _QUIET_VOLATILITY, 1.0)
    noise = rng.standard_t(_TAIL_DEGREES, CHUNK_STEPS) / np.sqrt(_TAIL_DEGREES / (_TAIL_DEGREES - 2))
    drift = regime * _TREND_PER_HOUR / np.sqrt(_STEPS_PER_HOUR)
    return Factor(volatility * noise + drift, volatility)


def _hour_shape(chunk: int) -> Floats:
    """Busiest in the afternoon of UTC, when Europe and America trade together."""
    hour = (np.arange(CHUNK_STEPS) + chunk * CHUNK_STEPS) % _STEPS_PER_DAY / _STEPS_PER_HOUR
    return 1.0 + 0.45 * np.cos((hour - 15.0) / 24.0 * 2 * np.pi) + 0.15 * np.cos((hour - 8.0) / 12.0 * 2 * np.pi)


@dataclass(frozen=True, slots=True)
class Character:
    """What the catalogue says of a product's market."""

    daily_volatility: float
    market_correlation: float
    daily_volume: float


def motion(seed: int, product_id: str, chunk: int, character: Character, market: Factor) -> Motion:
    own = factor(seed, product_id, chunk)
    shared = character.market_correlation
    alone = np.sqrt(1 - shared**2)
    step_volatility = character.daily_volatility / np.sqrt(_STEPS_PER_DAY)
    unit = shared * market.returns + alone * own.returns
    volatility = shared * market.volatility + alone * own.volatility
    rng = _stream(seed, product_id + "/wick", chunk)
    wicks = np.abs(rng.standard_normal((2, CHUNK_STEPS))) * 0.45 * step_volatility * volatility
    activity = (
        volatility**1.5 * (0.6 + 0.4 * np.minimum(np.abs(unit), 8.0)) * np.exp(0.35 * rng.standard_normal(CHUNK_STEPS))
    )
    volume = character.daily_volume / _STEPS_PER_DAY * _hour_shape(chunk) * activity
    return Motion(step_volatility * unit, wicks[0], wicks[1], volume)
