"""Which products this process decides where several share the work, and under which name it says how far it has come."""

from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

STAGE = "signal"


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` of `count`, from 0. A product's share follows from its name alone, so that two processes whose lists of
    products differ for a moment never both decide one."""

    index: int = 0
    count: int = 1

    @property
    def alone(self) -> bool:
        """True where one process decides all products."""
        return self.count == 1

    @property
    def stage(self) -> str:
        """Whose watermark this process moves. Alone it is the stage's; otherwise that follows the slowest share."""
        return STAGE if self.alone else f"{STAGE}:{self.index}/{self.count}"

    def of(self, products: Iterable[str]) -> tuple[str, ...]:
        """Those that are of this share, sorted."""
        return tuple(sorted(product for product in products if crc32(product.encode()) % self.count == self.index))

    def __str__(self) -> str:
        """As rows name it; empty for a process that is alone."""
        return "" if self.alone else f"{self.index}/{self.count}"
