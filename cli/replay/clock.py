"""The replay's hand on the simulated exchange's clock."""

import ssl
from datetime import datetime
from pathlib import Path

import aiohttp


class SimulatorClock:
    """Moves market time forward; the exchange matches what must be matched before it answers."""

    def __init__(self, host: str, ca_file: Path, token: str) -> None:
        self._url = f"https://{host}/sim/v1/advance"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def advance(self, to: datetime) -> None:
        """Moves the clock to `to`; being there already is fine. Raises ConnectionError if the exchange does not answer."""
        if self._session is None:
            context = ssl.create_default_context(cafile=str(self._ca_file))
            timeout = aiohttp.ClientTimeout(total=10, connect=2)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(ssl=context), headers=self._headers
            )
        try:
            async with self._session.post(self._url, json={"to": to.isoformat()}) as answer:
                if answer.status != 200:
                    raise ConnectionError(f"the simulated exchange answered {answer.status}: {await answer.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionError(f"the simulated exchange does not answer: {error}") from error

    async def close(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None
