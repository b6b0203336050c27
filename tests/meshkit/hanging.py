"""A database that hangs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psutil


def db(postgres: Any, **changes: Any) -> dict[str, Any]:
    """Settings that point at the embedded database by its socket directory."""
    return {
        "db_host": str(postgres.get_postmaster_info().socket_dir),
        "db_name": "postgres",
        "db_timeout_seconds": 1.0,
        "db_pool_size": 2,
        **changes,
    }


@contextlib.contextmanager
def hanging(postgres: Any) -> Iterator[None]:
    """Postmaster and backends stand still with their sockets open, as on a machine that swaps or a disk that hangs."""
    postmaster = psutil.Process(postgres.get_pid())
    postmaster.suspend()
    processes = [postmaster, *postmaster.children(recursive=True)]
    try:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):  # a backend that was just about to end
                process.suspend()
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
