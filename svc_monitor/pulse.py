"""Word that something changed, for any number of waiters in this process."""

import asyncio


class Pulse:
    """Tells any number of waiters that something changed since they last looked."""

    def __init__(self) -> None:
        self.count = 0
        self._event = asyncio.Event()

    def beat(self) -> None:
        self.count += 1
        self._event.set()
        self._event = asyncio.Event()

    async def after(self, count: int, timeout: float) -> int:
        """Waits until `count` is not the newest any more, at most `timeout` seconds; gives the newest."""
        if self.count == count:
            try:
                async with asyncio.timeout(timeout):
                    await self._event.wait()
            except TimeoutError:
                pass
        return self.count
