"""Several things at once, of which all are done before the failure of one is told.

A `TaskGroup` cancels the others when one fails, and raises a group, which no `except MeshError` catches.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """Results in the order of `work`. The first error of that order is raised as it is, after everything has ended."""
    found = await asyncio.gather(*work, return_exceptions=True)
    results: list[T] = []
    for one in found:
        if isinstance(one, BaseException):
            raise one
        results.append(one)
    return results
