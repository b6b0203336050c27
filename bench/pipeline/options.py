"""What the command line of the bench says."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

PHASES = ("statements", "idle", "cost", "paced", "burst", "orchestrators", "peers", "overload", "endurance")
# Run only where they are asked for: each takes longer than all of the others.
_LONG = ("orchestrators", "overload", "endurance")


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured, and what of it."""

    items: int
    seconds: float
    paces: tuple[float, ...]
    phases: tuple[str, ...]
    stored: int
    orchestrators: tuple[int, ...]
    overload: float
    endurance: int
    idle_seconds: float
    cost_items: int
    wait_seconds: float
    texts: str | None
    json: Path | None
    keep: bool

    def told(self) -> dict[str, object]:
        """For the JSON file."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_above_zero(part) for part in text.split(","))


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part) for part in text.split(","))


def _above_zero(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _count(text: str) -> int:
    if not text.strip().isdecimal() or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def parse(arguments: list[str] | None = None) -> Options:
    """Exits 2 with what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    add = parser.add_argument
    add("--items", type=_count, default=1000, help="recommendations of a burst")
    add("--pace", type=_numbers, default=(10.0, 50.0, 100.0), help="recommendations a second, separated by commas")
    add("--seconds", type=_above_zero, default=20.0, help="how long each pace is kept")
    add("--only", choices=PHASES, action="append", help="only this phase; may be given several times")
    add(
        "--stored",
        type=int,
        default=0,
        metavar="N",
        help="store N finished recommendations first, not through the mesh",
    )
    add("--orchestrators", type=_counts, metavar="1,2,4", help="bursts with so many orchestrators; not run without it")
    add(
        "--overload",
        type=_above_zero,
        metavar="SECONDS",
        help="memory while ten times as much is wanted as can be served, for so long; not run without it",
    )
    add(
        "--endurance",
        type=_count,
        metavar="10000",
        help="what this order costs beside the 500th; not run without it",
    )
    add("--idle-seconds", type=_above_zero, default=30.0, help="how long the mesh rests for the idle figures")
    add("--cost-items", type=_count, default=100, help="recommendations of the cost phase")
    add("--wait", type=_above_zero, default=900.0, help="longest wait in seconds for the end of a load")
    add("--texts", metavar="SERVICE", help="with the statements phase: show the statements of one service too")
    add("--json", type=Path, help="write the figures into this file")
    add("--keep", action="store_true", help="leave the folder with the logs")
    given = parser.parse_args(arguments)
    if given.stored < 0 or given.stored % 2:
        parser.error("--stored must be an even number: what is stored cancels out in pairs")
    named = (*(given.only or ()), *(one for one in _LONG if getattr(given, one)))
    phases = tuple(one for one in PHASES if one in named or (not given.only and one not in _LONG))
    return Options(
        items=given.items,
        seconds=given.seconds,
        paces=given.pace,
        phases=phases,
        stored=given.stored,
        orchestrators=given.orchestrators or (1, 2, 4),
        overload=given.overload or 60.0,
        endurance=given.endurance or 10_000,
        idle_seconds=given.idle_seconds,
        cost_items=given.cost_items,
        wait_seconds=given.wait,
        texts=given.texts,
        json=given.json,
        keep=given.keep,
    )
