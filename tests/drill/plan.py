"""What happens in one run, from its seed alone: orders, the operator's switch, deaths, and trades by somebody else.

Pure. Times are seconds from the run's begin. How the processes interleave with it is theirs; the plan is the same.
"""

import random
from dataclasses import dataclass
from decimal import Decimal

from tests.drill.faults import THEMES, FaultPlan

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
QUOTE = "USD"
DATABASE = "postgres"
VICTIMS = (
    "executor",
    DATABASE,
    "orchestrator",
    "risk",
    "exchange_sim",
    "bridge",
    "validator",
    "market",
    "signal",
    "monitor",
)
HALT_VICTIMS = ("risk", DATABASE, "executor", "orchestrator")
# The runs that every test run plays.
SAMPLE = range(1, 41)
SECONDS = 1.0
# Long enough for a pass of the reconciler that would send, beyond the grace that the checker grants.
HALT_SECONDS = 2.2
# A hold that outlives the age at which a waiting exit must be an alert.
LONG_HOLD_SECONDS = 50.0
LONG_EVERY = 25
STALE_EVERY = 15


@dataclass(frozen=True, slots=True)
class Buy:
    """An operator's entry; `quote` in USD."""

    at: float
    product: str
    quote: Decimal


@dataclass(frozen=True, slots=True)
class Sell:
    """An operator's exit of a share of what is held; 1 names no size, which is the whole."""

    at: float
    product: str
    share: Decimal


@dataclass(frozen=True, slots=True)
class Close:
    """The operator closes a position at the executor, past everybody else."""

    at: float
    product: str


@dataclass(frozen=True, slots=True)
class Switch:
    """The operator stops trading for a while: HALTED or REDUCING; by `mesh halt` itself, or by the same calls."""

    at: float
    state: str
    seconds: float
    by_command: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9 of a process, or of the database's postmaster."""

    at: float
    victim: str


@dataclass(frozen=True, slots=True)
class HandTrade:
    """Somebody with a key of the same account trades at market; a SELL takes a share of the wallet."""

    at: float
    product: str
    side: str
    quote: Decimal
    share: Decimal


@dataclass(frozen=True, slots=True)
class ForeignHold:
    """A resting sale of somebody else that keeps a share of the wallet on hold."""

    at: float
    product: str
    share: Decimal
    seconds: float


Step = Buy | Sell | Close | Switch | Kill | HandTrade | ForeignHold


@dataclass(frozen=True, slots=True)
class RunPlan:
    """One run."""

    seed: int
    steps: tuple[Step, ...]
    faults: FaultPlan

    @property
    def kinds(self) -> tuple[str, ...]:
        """What disturbs it, for the report."""
        found = [f"kill {step.victim}" for step in self.steps if isinstance(step, Kill)]
        found += [step.state for step in self.steps if isinstance(step, Switch)]
        found += ["close" for step in self.steps if isinstance(step, Close)]
        found += ["hand trade" for step in self.steps if isinstance(step, HandTrade)]
        found += ["foreign hold" for step in self.steps if isinstance(step, ForeignHold)]
        return tuple(found)


def plan_of(seed: int, *, long: bool = False) -> RunPlan:
    """The run of a seed. Themes and victims take turns, so that a short range of seeds has all of them."""
    source = random.Random(f"drill/{seed}")
    steps: list[Step] = [_order(source) for _ in range(source.randint(3, 6))]
    # Every second run is disturbed beyond its faults, in turn by a death and by the switch.
    kind, turn = seed % 4, seed // 4
    if kind == 1:
        steps.append(Kill(source.uniform(0.05, SECONDS), VICTIMS[turn % len(VICTIMS)]))
    elif kind == 3:
        at = source.uniform(0.8, SECONDS + 0.6)
        beside_death = turn % 3 == 1
        steps.append(Switch(at, "REDUCING" if turn % 3 == 2 else "HALTED", HALT_SECONDS, beside_death))
        if beside_death:
            # Stopping must not need whoever is dead.
            steps.append(Kill(at - 0.2, HALT_VICTIMS[turn // 3 % len(HALT_VICTIMS)]))
    if seed % 7 == 5:
        steps.append(Close(source.uniform(0.2, SECONDS), source.choice(PRODUCTS)))
    outside = seed % 5
    if outside == 2:
        steps.append(_hand_trade(source))
    elif outside == 4:
        seconds = LONG_HOLD_SECONDS if long else source.uniform(0.8, 2.5)
        product = source.choice(PRODUCTS)
        steps.append(ForeignHold(0.0, product, Decimal(1), seconds))
        steps.append(Sell(0.3, product, Decimal(1)))
    faults = FaultPlan(
        seed,
        # Every theme meets every kind of disturbance.
        THEMES[(seed + seed // 4) % len(THEMES)],
        source.uniform(0.6, 0.95),
        source.choice((0.0, 0.15, 0.4)),
        stale=seed % STALE_EVERY == 8,
    )
    return RunPlan(seed, tuple(sorted(steps, key=lambda step: step.at)), faults)


def drill_plan(seed: int) -> RunPlan:
    """The run of a seed in a long drill, which has time for holds that outlive an exit's timeouts."""
    return plan_of(seed, long=seed % LONG_EVERY == LONG_EVERY - 1)


def _order(source: random.Random) -> Buy | Sell:
    at, product = source.uniform(0.0, SECONDS), source.choice(PRODUCTS)
    if source.random() < 0.6:
        return Buy(at, product, Decimal(source.randint(1500, 6000)) / 100)
    return Sell(at, product, source.choice((Decimal("0.3"), Decimal("0.5"), Decimal("0.999"), Decimal(1))))


def _hand_trade(source: random.Random) -> HandTrade:
    side = source.choice(("BUY", "SELL", "SELL"))
    share = source.choice((Decimal("0.1"), Decimal("0.6"), Decimal("0.95")))
    return HandTrade(source.uniform(0.0, SECONDS), source.choice(PRODUCTS), side, Decimal(40), share)
