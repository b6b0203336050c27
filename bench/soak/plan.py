"""What happens in a soak, and the arithmetic of what was seen: orders at a pace, every process killed once, then none."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from tests.drill.faults import NO_FAULTS
from tests.drill.plan import PRODUCTS, VICTIMS, Buy, Kill, RunPlan, Sell, Step

QUOTE = Decimal(12)
# Of so many orders the last sells all that is held of its product: what is held stays small, and exits are as usual as entries.
# Not a multiple of the number of products, so that each has its exits.
EXIT_EVERY = 5
# The deaths take the first third; memory is looked at in the rest, when everybody has lived for a while.
FIRST_DEATH, LAST_DEATH, WARM = 0.05, 0.30, 0.40
_HOUR = 3600.0


def soak_plan(seconds: float, per_second: float) -> RunPlan:
    """Orders evenly over the time, and a death of each process, without faults of the exchange."""
    count = round(seconds * per_second)
    steps: list[Step] = [_order(number, number / per_second) for number in range(count)]
    gap = (LAST_DEATH - FIRST_DEATH) / (len(VICTIMS) - 1)
    steps += [Kill(seconds * (FIRST_DEATH + gap * place), victim) for place, victim in enumerate(VICTIMS)]
    return RunPlan(1, tuple(sorted(steps, key=lambda step: step.at)), NO_FAULTS)


def _order(number: int, at: float) -> Buy | Sell:
    product = PRODUCTS[number % len(PRODUCTS)]
    return Sell(at, product, Decimal(1)) if number % EXIT_EVERY == EXIT_EVERY - 1 else Buy(at, product, QUOTE)


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of one process at one moment; seconds since the load began."""

    at: float
    name: str
    pid: int
    size: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Memory of one process after its warm-up, in bytes; `per_hour` is the slope of the line of least squares."""

    name: str
    first: int
    last: int
    most: int
    per_hour: float


def growth_of(samples: Sequence[Sample], warm: float) -> list[Growth]:
    """Of each process that lived from `warm` to the end; one that was started anew in that time is not told apart from
    one that shrank, so it is an error."""
    found = []
    for name, group in groupby(sorted(samples, key=lambda one: (one.name, one.at)), key=lambda one: one.name):
        seen = [one for one in group if one.at >= warm]
        if len({one.pid for one in seen}) > 1:
            raise ValueError(f"{name} was started anew after its warm-up, at {warm:.0f} s")
        if len(seen) > 1:
            sizes = [one.size for one in seen]
            found.append(Growth(name, sizes[0], sizes[-1], max(sizes), _slope(seen) * _HOUR))
    return found


def _slope(seen: Sequence[Sample]) -> float:
    """Bytes per second."""
    middle_at = sum(one.at for one in seen) / len(seen)
    middle_size = sum(one.size for one in seen) / len(seen)
    spread = sum((one.at - middle_at) ** 2 for one in seen)
    return sum((one.at - middle_at) * (one.size - middle_size) for one in seen) / spread
