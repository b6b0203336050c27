"""What faults do to the WebSocket: to a subscription, and to what one connection sends.

A message that goes out late is held back before it gets its number; everything else happens to numbered messages, as it does on
the way to a client.
"""

import time
from collections.abc import Callable

from exchange_sim.fault_rules import OF_MESSAGES, OF_SUBSCRIPTIONS, FaultKind, Faults, Rule
from exchange_sim.socket_channel import Messages

_GARBAGE = "<html>502 Bad Gateway</html>"


class SocketFaults:
    """The faults of all connections. It remembers the newest snapshot of each channel, which is what a stale one shows."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._snapshots: dict[str, Messages] = {}

    def of_subscription(self, path: str, channel: str) -> Rule | None:
        """What a subscription meets on a connection to this path."""
        return self._faults.of_socket(OF_SUBSCRIPTIONS, path, channel)

    def of_message(self, path: str, channel: str) -> Rule | None:
        """What a message of this channel meets."""
        return self._faults.of_socket(OF_MESSAGES, path, channel)

    def snapshot(self, channel: str, now: Messages, fault: Rule | None) -> Messages:
        """The snapshot as it is now; as it was for the one who asked before, or empty, where it is stale."""
        if fault is not None and fault.kind is FaultKind.WS_STALE:
            return self._snapshots.get(channel) or [[_emptied(event) for event in events] for events in now]
        self._snapshots[channel] = now
        return now


def _emptied(event: dict[str, object]) -> dict[str, object]:
    return {name: [] if isinstance(value, list) else value for name, value in event.items()}


class Wire:
    """What goes out of one connection in place of each message."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._silent_until = 0.0
        self._held: list[str] = []

    def passes(self, text: str, fault: Rule | None) -> list[str]:
        """One message and what it meets; what was held back for a swap goes after it."""
        now = self._monotonic()
        if fault is not None and fault.kind is FaultKind.WS_SILENCE:
            self._silent_until = now + fault.seconds
        if now < self._silent_until:
            return []
        if fault is not None and fault.kind is FaultKind.WS_SWAP:
            self._held.append(text)
            return []
        held, self._held = self._held, []
        return [*_changed(text, fault), *held]


def _changed(text: str, fault: Rule | None) -> list[str]:
    match fault.kind if fault is not None else None:
        case FaultKind.WS_GAP:
            return []
        case FaultKind.WS_REPEAT:
            return [text, text]
        case FaultKind.WS_TRUNCATE:
            return [text[: len(text) // 2]]
        case FaultKind.WS_GARBAGE:
            return [_GARBAGE]
    return [text]
