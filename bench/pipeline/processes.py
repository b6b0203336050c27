"""Processes of the bench itself beside the mesh: they end with the block, and with the bench, however that ends."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pipeline.mesh import BenchFailed, end_in_peace
from supervisor.home import MeshHome
from supervisor.processes import InstanceMark
from supervisor.restart_policy import RestartPolicy
from supervisor.supervisor import Supervisor
from supervisor.unit import ProcessSpec, ProcessUnit
from tests.support.live_mesh import supervised

# A process that dies stays dead: the bench looks at what became of it.
_NOT_AGAIN = RestartPolicy(first_pause_seconds=3600.0, longest_pause_seconds=3600.0)


@dataclass(frozen=True)
class Beside:
    """The processes by name, and where they write."""

    home: MeshHome
    supervisor: Supervisor

    def pid(self, name: str) -> int | None:
        """None once it has ended."""
        for one in self.supervisor.state.services:
            if one.name == name and one.process is not None:
                return one.process.pid
        return None

    def log(self, name: str) -> str:
        """Everything it has written."""
        path = self.home.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    async def until_written(self, name: str, word: str, seconds: float) -> str:
        """Waits for a line that begins with `word` and gives the rest of it; BenchFailed if the process ends without."""
        end = asyncio.get_running_loop().time() + seconds
        started = False
        while True:
            found = [line for line in self.log(name).splitlines() if line.startswith(word)]
            if found:
                return found[-1].removeprefix(word).strip()
            started = started or self.pid(name) is not None
            over = asyncio.get_running_loop().time() > end
            if over or (started and self.pid(name) is None):
                why = f"did not answer in {seconds:g} s" if over else "has ended"
                raise BenchFailed(f"{name} {why}; its last words: {self.log(name)[-1500:]}")
            await asyncio.sleep(0.05)


@contextmanager
def beside(folder: Path, specs: Sequence[ProcessSpec]) -> Iterator[Beside]:
    """Starts them; what they need to be ready, the caller looks at."""
    home = MeshHome.at(folder)
    home.prepare()
    run_id = folder.name
    mark = InstanceMark(str(home.root), run_id)
    units = [ProcessUnit(spec, home.log_file(spec.name), mark) for spec in specs]
    supervisor = Supervisor(
        home, run_id, units, labels={"mode": "bench"}, on_event=lambda event: None, policy=_NOT_AGAIN
    )
    with supervised(supervisor):
        try:
            yield Beside(home, supervisor)
        except (KeyboardInterrupt, asyncio.CancelledError):
            end_in_peace()
            raise
