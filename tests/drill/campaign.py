"""Plays a range of seeds, in one world for as long as that is sound; a world that shows a violation is not used again."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path

from supervisor.home import MeshHome
from tests.drill.faults import NO_FAULTS
from tests.drill.history import Violation
from tests.drill.plan import PRODUCTS, Buy, RunPlan
from tests.drill.run import Player, RunResult
from tests.drill.world import drill_world

# What a stranger leaves in the wallet at the beginning: with it, selling more than is held would succeed.
_FOREIGN_QUOTE = Decimal(300)
_FIRST_QUOTE = Decimal(120)
_STARTS = 3
# As the services say it, and the page, the simulator and the metrics.
_TAKEN = ("another process has it", "address already in use")


async def campaign(plans: Iterable[RunPlan]) -> AsyncGenerator[RunResult, None]:
    """Every run with its judgement, in order. The world of a result lives until the next one is asked for."""
    remaining = list(plans)
    starts_left = _STARTS
    while remaining:
        folder = _folder()
        sound = True
        try:
            async with AsyncExitStack() as stack:
                try:
                    player = Player(await stack.enter_async_context(drill_world(folder)))
                    await _begin(player)
                except OSError as error:
                    # On a shared machine somebody may have taken one of the free ports before it was bound: the proxy
                    # says so itself, a process in its log.
                    starts_left -= 1
                    if not starts_left or not (error.errno == errno.EADDRINUSE or _port_was_taken(folder)):
                        raise
                    continue
                starts_left = _STARTS
                while remaining and sound:
                    result = await player.play(remaining.pop(0))
                    if not remaining and not result.violations:
                        result.violations += await _still_dead(player)
                    sound = not result.violations
                    yield result
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    """A new folder that the database's own account may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="mesh-drill-"))
    folder.chmod(0o755)
    return folder


def _port_was_taken(folder: Path) -> bool:
    """Whether a process of the world could not listen where it should."""
    logs = [path.read_text(errors="replace").lower() for path in MeshHome.at(folder).logs.glob("*.log")]
    return any(words in log for log in logs for words in _TAKEN)


async def _still_dead(player: Player) -> list[Violation]:
    """Runs do not wait for those that no order needs: who never came back after a death is found at the end."""
    try:
        await player.world.until_all_back()
    except TimeoutError as error:
        return [Violation("not back", "the world's end", str(error))]
    return []


async def _begin(player: Player) -> None:
    """Something is held of every product, by the mesh and by somebody else."""
    for product in PRODUCTS:
        assert await player.world.hand.buy(product, _FOREIGN_QUOTE)
    await player.settling.book_foreign_acts()
    steps = tuple(Buy(0.0, product, _FIRST_QUOTE) for product in PRODUCTS)
    first = await player.play(RunPlan(0, steps, NO_FAULTS))
    assert first.states == {"EXECUTED": len(PRODUCTS)} and not first.violations, (first.answers, first.violations)
