"""What happens in one run, from its seed alone: what is traded, which request of it is met at the cell's point, and when.

Pure. How the processes interleave with it, and what earlier runs have left in the account, the seed does not fix.
"""

import random
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from tests.chaos.grid import DOUBTS, Cell, Point, cell_of
from tests.drill.faults import Fault
from tests.drill.plan import HandTrade
from tests.drill.proxy import Moment

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD")
# The runs that every test run plays.
SAMPLE = range(1, 151)
ALL, HALF = Decimal(1), Decimal("0.5")


class Act(StrEnum):
    """What is done when it happens: an entry, an exit through the pipeline, an operator's close or cancel of everything."""

    ENTRY = "entry"
    EXIT = "exit"
    CLOSE = "close"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """One run: an entry that is protected, and `act`, whose order meets the cell. Times are seconds."""

    seed: int
    cell: Cell
    product: str
    quote: Decimal
    act: Act
    # Of what is held, for an exit.
    share: Decimal
    # An entry of another product at the moment of the act.
    beside: str | None
    # An exit after the act, while everybody recovers.
    afterwards: Decimal | None
    stranger: HandTrade | None
    # On its way to the exchange or back; `delay` from then to the death, None where the request is held until it is done.
    moment: Moment
    delay: float | None
    # Requests that meet the fault, one after the other.
    times: int
    # What of a reconciliation meets it, and how its order came to be in doubt.
    read: str
    doubt: Fault
    # From a death to the restart, and then to another death of the executor.
    down_seconds: float
    again: float | None


READS = ("/orders/historical/batch", "/orders/historical/fills", "/accounts")


def plan_of(seed: int) -> ChaosPlan:
    """The run of a seed, from 1 on."""
    source = random.Random(f"chaos/{seed}")
    cell = cell_of(seed)
    act = _act(source, cell.point)
    product = source.choice(PRODUCTS)
    moment, delay = _moment(source, cell.point)
    return ChaosPlan(
        seed=seed,
        cell=cell,
        product=product,
        quote=Decimal(source.randint(1500, 6000)) / 100,
        act=act,
        share=source.choice((HALF, ALL)),
        beside=source.choice([one for one in PRODUCTS if one != product]) if source.random() < 0.25 else None,
        afterwards=source.choice((HALF, ALL)) if source.random() < 0.3 else None,
        stranger=_stranger(source) if source.random() < 0.2 else None,
        moment=moment,
        delay=delay,
        times=source.choice((1, 1, 2, 5)),
        read=source.choice(READS),
        doubt=source.choice(DOUBTS),
        down_seconds=source.choice((0.0, 0.1, 0.4)),
        again=source.uniform(0.0, 0.4) if source.random() < 0.15 else None,
    )


def _act(source: random.Random, point: Point) -> Act:
    if point is Point.IN_BRACKET:
        return Act.ENTRY
    if point is Point.IN_CANCEL:
        return source.choice((Act.EXIT, Act.CLOSE, Act.CANCEL))
    return source.choice((Act.ENTRY, Act.ENTRY, Act.EXIT, Act.CLOSE))


def _moment(source: random.Random, point: Point) -> tuple[Moment, float | None]:
    """A reply that comes, or does not, has been dealt with a little later."""
    later = source.choice((0.0, 0.02, 0.1, 0.3))
    match point:
        case Point.BEFORE_SEND:
            return Moment.ARRIVED, None
        case Point.AFTER_SEND:
            return Moment.DELIVERED, None
        case Point.REPLY_LOST | Point.REPLY_BROKEN:
            return Moment.DELIVERED, later
    return source.choice(((Moment.ARRIVED, None), (Moment.DELIVERED, None), (Moment.DELIVERED, later)))


def _stranger(source: random.Random) -> HandTrade:
    side = source.choice(("BUY", "SELL", "SELL"))
    return HandTrade(source.uniform(0.0, 0.5), source.choice(PRODUCTS), side, Decimal(40), Decimal("0.6"))
