"""Spreads fits over processes or machines, with joblib's backends.

Each fit is a pure function of its task and runs on one thread, so neither the number of jobs nor the backend
changes a result.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any

import joblib

BACKENDS = ("loky", "dask", "ray")
_PACKAGE = {"dask": "distributed", "ray": "ray"}


class BackendMissing(Exception):
    """The package of the chosen backend is not installed; the text names it."""


@dataclass(frozen=True, slots=True)
class Workers:
    """`jobs` at a time on a backend; with loky and one job everything stays in this process."""

    jobs: int = 1
    backend: str = "loky"

    def run(self, work: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the tasks, as they become known."""
        if self.backend == "loky" and self.jobs == 1:
            yield from map(work, tasks)
            return
        with ExitStack() as stack:
            for context in _contexts(self.backend, self.jobs):
                stack.enter_context(context)
            # Only local processes hand out results one by one; two waiting tasks per job bound the memory.
            how = "generator" if self.backend == "loky" else "list"
            # Arrays go through pipes: kept in shared memory until the end they would be all folds at once.
            parallel = joblib.Parallel(n_jobs=self.jobs, return_as=how, pre_dispatch="2*n_jobs", max_nbytes=None)
            yield from parallel(joblib.delayed(work)(task) for task in tasks)


def require_backend(name: str) -> None:
    """Raises BackendMissing, or ValueError for a name that is none."""
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r} is not one of {', '.join(BACKENDS)}")
    package = _PACKAGE.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        raise BackendMissing(f"backend {name} needs the package {package}, which is not installed")


def _contexts(backend: str, jobs: int) -> Iterator[AbstractContextManager[Any]]:
    require_backend(backend)
    if backend == "dask":
        # Its own settings name a scheduler (DASK_SCHEDULER_ADDRESS); without one it starts workers on this machine.
        yield importlib.import_module("distributed").Client()
    elif backend == "ray":
        importlib.import_module("ray.util.joblib").register_ray()
    yield joblib.parallel_config(backend=backend, n_jobs=jobs)
