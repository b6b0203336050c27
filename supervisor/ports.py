"""Finds out, before anything starts, whether every port is free; who holds it if not, and what to change."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil

_FREE_RANGE = range(20_000, 32_000)  # below what systems hand out for outgoing connections


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port a service is going to listen on, and the variable that sets it."""

    service: str
    port: int
    variable: str
    host: str = "127.0.0.1"


class PortConflict(Exception):
    """Some ports cannot be used; every one of them is named in the text."""


def require_free(uses: Iterable[PortUse]) -> None:
    """Raises `PortConflict` naming all faults at once."""
    _raise(uses, _why_held)


def require_apart(uses: Iterable[PortUse]) -> None:
    """The same of what can be said while the ports are in use: whether each is one, and given once."""
    _raise(uses, lambda _: None)


def _raise(uses: Iterable[PortUse], why_not: Callable[[PortUse], str | None]) -> None:
    faults: list[str] = []
    taken: dict[int, PortUse] = {}
    for use in uses:
        if not 0 < use.port < 65_536:
            faults.append(f"{use.variable}={use.port} ({use.service}) is not a port")
        elif use.port in taken:
            other = taken[use.port]
            faults.append(
                f"port {use.port} is given to {other.service} ({other.variable}) and to {use.service} ({use.variable})"
            )
        elif (reason := why_not(use)) is not None:
            faults.append(reason)
        taken.setdefault(use.port, use)
    if faults:
        raise PortConflict("\n".join(faults))


def _why_held(use: PortUse) -> str | None:
    reason = why_not_free(use.host, use.port)
    return reason and f"port {use.port} ({use.service}) {reason}; set {use.variable} to another, or stop that"


def why_not_free(host: str, port: int) -> str | None:
    """None when the port can be listened on; otherwise why not, with the holder as far as it may be seen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connector:
        connector.settimeout(0.5)
        # macOS lets a socket bind beside a wildcard listener, so a listener is also looked for by calling it.
        if connector.connect_ex((host, port)) == 0:
            return f"is held by {_holder(port)}"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: no wait for TIME_WAIT
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"is held by {_holder(port)}"
            return f"cannot be used on {host}: {error.strerror}"
    return None


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Distinct ports nobody listens on now. Held together while choosing: none is given twice."""
    held: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(_FREE_RANGE, len(_FREE_RANGE)):
            if len(held) == count:
                break
            candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                candidate.bind((host, port))
            except OSError:
                candidate.close()
                continue
            held.append(candidate)
        if len(held) < count:
            raise PortConflict(f"no {count} free ports on {host}")
        return [int(candidate.getsockname()[1]) for candidate in held]
    finally:
        for candidate in held:
            candidate.close()


def _holder(port: int) -> str:
    """The listening process, where the system lets us see it (macOS shows only one's own)."""
    for process in psutil.process_iter():
        try:
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"pid {process.pid} ({' '.join(process.cmdline())[:120] or process.name()})"
        except (psutil.Error, OSError):
            continue
    return "a process of another user (not visible from here)"
