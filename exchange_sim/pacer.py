"""The pace of market time: so many market seconds per second of wall time, or none.

Time moves in ticks; each tick is matched before it shows. A step asked for by the operator and
the ticking take turns, and long steps are cut by the day so that requests are answered meanwhile.
"""

import asyncio
import time

from exchange_sim.exchange import CannotMove, Exchange
from exchange_sim.times import SECOND_US

_TICK_SECONDS = 0.1
# While nothing is open the clock is stored once for so many ticks.
_TICKS_A_NOTE = 20
_LONGEST_STEP_US = 86_400 * SECOND_US


class Pacer:
    def __init__(self, exchange: Exchange, speed: float) -> None:
        self._exchange = exchange
        self._turn = asyncio.Lock()
        self._steerable = not exchange.market.follows_wall_clock
        self.speed = speed if self._steerable else 1.0

    def set_speed(self, speed: float) -> None:
        self._require_steerable()
        self.speed = speed

    async def advance(self, to_us: int) -> None:
        """Returns when everything due up to `to_us` is done; CannotMove outside the market's time."""
        self._require_steerable()
        end_us = self._exchange.market.end_us
        if end_us is not None and to_us > end_us:
            raise CannotMove("the market has no prices that late")
        async with self._turn:
            await self._move(to_us)

    async def run(self) -> None:
        """Ticks until cancelled."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = time.monotonic()
            async with self._turn:
                if self._exchange.any_cancel_queued:
                    self._exchange.end_cancelled()
                if self._exchange.any_kept_waiting:
                    self._exchange.fill_kept_waiting()
                target_us = self._target_us(now - before)
                before = now
                if target_us > self._exchange.now_us:
                    await self._move(target_us, (target_us - self._exchange.now_us) * _TICKS_A_NOTE)

    def _target_us(self, elapsed_seconds: float) -> int:
        if not self._steerable:
            return time.time_ns() // 1000
        target_us = self._exchange.now_us + int(elapsed_seconds * self.speed * SECOND_US)
        end_us = self._exchange.market.end_us
        return target_us if end_us is None else min(target_us, end_us)

    async def _move(self, to_us: int, lead_us: int = 0) -> None:
        while self._exchange.now_us + _LONGEST_STEP_US < to_us:
            self._exchange.advance(self._exchange.now_us + _LONGEST_STEP_US)
            await asyncio.sleep(0)
        self._exchange.advance(to_us, lead_us)

    def _require_steerable(self) -> None:
        if not self._steerable:
            raise CannotMove("this market follows the wall clock")
