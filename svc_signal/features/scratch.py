"""Work memory that lives from bar to bar.

A step needs half a megabyte of passing results per thousand products. Asked of the system and given back at every bar,
the page faults cost more than the arithmetic.
"""

from __future__ import annotations

import numpy as np

from svc_signal.candles import FloatArray

_ROWS = 64


class Scratch:
    """Rows of one shape, handed out in order and all taken back at once by `reset`."""

    __slots__ = ("_blocks", "_place", "_shape", "_used")

    def __init__(self, *shape: int) -> None:
        self._shape = shape
        self._blocks = [np.empty((_ROWS, *shape))]
        self.reset()

    def reset(self) -> None:
        self._place, self._used = 0, 0

    def row(self) -> FloatArray:
        return np.asarray(self.rows(1)[0])

    def rows(self, count: int) -> FloatArray:
        """At most 64 neighbouring rows, with whatever is in them."""
        if self._used + count > _ROWS:
            self._place, self._used = self._place + 1, 0
            if self._place == len(self._blocks):
                self._blocks.append(np.empty((_ROWS, *self._shape)))
        first, self._used = self._used, self._used + count
        return self._blocks[self._place][first : self._used]
