"""The whole of a service's `__main__`: settings, logs, loop, signals, exit code.

Exit codes: 0 drained after a signal, 1 failed (a restart may help), 2 misconfigured (an operator must act).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from meshkit import connections, lifecycle, logging
from meshkit.kit import Kit
from meshkit.lifecycle import Build, Service
from meshkit.settings import KitSettings, load
from meshkit.spec import Check, Registration, ServiceSpec, Task

__all__ = ["Check", "Kit", "Registration", "ServiceSpec", "Task", "serve"]

S = TypeVar("S", bound=KitSettings)


def serve(settings_class: type[S], build: Build[S]) -> None:
    """Runs the service until SIGTERM or SIGINT; leaves by SystemExit."""
    # Whoever started this may have blocked them, and what is blocked stays so in a child: it would never hear that it is to end.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    # The core writes to stderr in a form of its own; only its errors are worth that.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    connections.raise_limit()
    settings = load(settings_class)
    logging.configure(settings.mesh_log_level, settings.mesh_log_format)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            code = runner.run(lifecycle.run(settings, build, started=_stop_on_signals))
        except Exception as error:
            logging.logger(settings.service_name).error("failed", exc_info=error)
            code = lifecycle.EXIT_FAILED
    raise SystemExit(code)


def _stop_on_signals(service: Service) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed; nothing here needs it."""
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
