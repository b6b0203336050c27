"""A channel that is made anew when the certificates it proves itself with have changed.

gRPC fixes a channel's certificate when it is made (https://github.com/grpc/grpc/issues/15735), so a process that lives longer
than its certificate needs another channel. Stubs keep this one: each call goes over the newest, those that run stay where they
are, and an old channel is closed when its last call can have ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

# Servers end a connection at half an hour and a minute of grace, so no call lives longer on an old channel.
OLD_CHANNEL_SECONDS = 32 * 60.0


class RenewedChannel(grpc.aio.Channel):
    """`make` gives a channel with the credentials of now; `generation` changes when they have."""

    def __init__(self, make: Callable[[], grpc.aio.Channel], generation: Callable[[], object]) -> None:
        self._make = make
        self._generation = generation
        self._made_of = generation()
        self._channel = make()
        self._old: dict[grpc.aio.Channel, asyncio.Task[None]] = {}

    @property
    def newest(self) -> grpc.aio.Channel:
        """The channel of the next call."""
        generation = self._generation()
        if generation != self._made_of:
            old, self._channel, self._made_of = self._channel, self._make(), generation
            self._old[old] = asyncio.ensure_future(self._let_go(old))
        return self._channel

    def unary_unary(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, "unary_unary", arguments, named)

    def unary_stream(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, "unary_stream", arguments, named)

    def stream_unary(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, "stream_unary", arguments, named)

    def stream_stream(self, *arguments: Any, **named: Any) -> Any:
        return _Method(self, "stream_stream", arguments, named)

    async def close(self, grace: float | None = None) -> None:
        for old, waiting in list(self._old.items()):
            waiting.cancel()
            await old.close(grace)
        self._old.clear()
        await self._channel.close(grace)

    async def _let_go(self, old: grpc.aio.Channel) -> None:
        # Closed at the end and not with a grace from now: a grace would spare only the calls that wait in gRPC just now.
        await asyncio.sleep(OLD_CHANNEL_SECONDS)
        del self._old[old]
        await old.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self.newest.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self.newest.channel_ready()

    async def __aenter__(self) -> RenewedChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Method:
    """One method of a stub, bound again where the channel is another."""

    def __init__(self, owner: RenewedChannel, kind: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._owner = owner
        self._kind = kind
        self._arguments = arguments
        self._named = named
        self._channel: grpc.aio.Channel | None = None
        self._bound: Any = None

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        channel = self._owner.newest
        if channel is not self._channel:
            self._bound = getattr(channel, self._kind)(*self._arguments, **self._named)
            self._channel = channel
        return self._bound(*arguments, **named)
