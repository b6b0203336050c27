"""Loops over numbers as machine code: numba translates a function the first time it is called and keeps the result on disk.

A bar of a thousand products is a hundred thousand operations so small that calling numpy for each row of them costs more
than they do. Nothing is reordered, fused or approximated, so what comes out are the bits that the formula as written gives:
no fast-math, and a division by zero is an infinity, not an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from modelkit.features.loop_cache import LoopCache

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """The same function as machine code; it lets other threads run."""
    translated: Any = numba.njit(function, error_model="numpy", nogil=True)
    translated._cache = LoopCache(function)  # as `cache=True` does, with ours in place of numba's own
    return cast("_Function", translated)


@compiled
def larger(a: float, b: float) -> float:
    """As np.maximum: NaN if either is."""
    return a if a >= b or a != a else b


@compiled
def smaller(a: float, b: float) -> float:
    """As np.minimum: NaN if either is."""
    return a if a <= b or a != a else b


@compiled
def known_larger(a: float, b: float) -> float:
    """As np.fmax: passes over a NaN."""
    return b if a != a else a if b != b or a >= b else b


@compiled
def one_if(condition: bool) -> float:
    return 1.0 if condition else 0.0


@compiled
def ratio(numerator: float, denominator: float, neutral: float) -> float:
    """numerator/denominator, or `neutral` where the denominator is not above zero; NaN stays NaN."""
    return neutral if denominator <= 0.0 else numerator / denominator
