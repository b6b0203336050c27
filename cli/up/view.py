"""Shows a start: one line per process with its state, a bar for each long step, and what happens afterwards as lines.

The same facts reach a terminal, a log, or the shell that waits for a detached supervisor.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from cli.console import escape, escape_lines, out
from supervisor.detach import Announcer
from supervisor.keeper import NEWS, Event, EventKind
from supervisor.logfile import LogFile

_STYLES = {
    "waiting": "dim",
    "starting": "yellow",
    "ready": "green",
    "hung": "bold red",
    "answers_again": "green",
    "done": "green",
    "died": "bold yellow",
    "parked": "bold red",
    "stopped": "dim",
    "start_failed": "bold red",
    "stop_failed": "bold red",
}
ALARM = "ALARM"


class View(Protocol):
    """Who is shown a start."""

    def units(self, names: list[str]) -> None: ...

    def event(self, event: Event) -> None: ...

    def progress(self, stage: str, share: float, detail: str) -> None: ...

    def say(self, text: str) -> None: ...

    def settled(self) -> None:
        """The start is over; what comes now is news."""
        ...


def line_of(event: Event) -> str:
    """An event as one line; a parked process is an alarm."""
    detail = f": {event.detail}" if event.detail else ""
    if event.kind is EventKind.PARKED:
        return f"{ALARM} {event.service} is parked{detail}. Read its log, mend it, then `mesh restart {event.service}`."
    return f"{event.service} {event.kind.value.replace('_', ' ')}{detail}"


class TerminalView:
    """A live table while the mesh starts, lines afterwards."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[str, str]] = {}
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("  {task.description:<28}"), BarColumn(30), TaskProgressColumn(), TimeElapsedColumn()
        )
        self._live: Live | None = Live(get_renderable=self._render, console=out, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.settled()

    def units(self, names: list[str]) -> None:
        self._states |= dict.fromkeys(names, ("waiting", ""))

    def event(self, event: Event) -> None:
        if self._live is not None:
            self._states[event.service] = (event.kind.value, event.detail)
        if self._live is None or event.kind in NEWS:
            style = _STYLES[event.kind.value]
            out.print(f"[dim]{datetime.now():%H:%M:%S}[/] [{style}]{escape_lines(line_of(event))}[/]")  # noqa: DTZ005 - for eyes

    def progress(self, stage: str, share: float, detail: str) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=1.0)
        name = f"{stage}: {detail}" if detail else stage
        self._bars.update(self._tasks[stage], completed=share, description=name)

    def say(self, text: str) -> None:
        out.print(f"  {escape_lines(text)}")

    def settled(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
            if not out.is_terminal:
                out.line()

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for name, (state, detail) in self._states.items():
            first_line = detail.partition("\n")[0]
            table.add_row(f"  {name}", f"[{_STYLES[state]}]{state}[/]", f"[dim]{escape(first_line[:80])}[/]")
        return Group(table, self._bars) if self._tasks else table


class LogView:
    """Lines in the supervisor's log."""

    def __init__(self, path: Path) -> None:
        self._log = LogFile(path)

    def units(self, names: list[str]) -> None:
        """A log tells what happens, not what will."""

    def event(self, event: Event) -> None:
        self.say(line_of(event))

    def progress(self, stage: str, share: float, detail: str) -> None:
        """Nobody reads a bar in a log."""

    def say(self, text: str) -> None:
        self._log.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n".encode())

    def settled(self) -> None:
        """A log goes on as it was."""


class AnnouncedView:
    """The shell that started a detached supervisor: every event of a view, as JSON over its pipe."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer

    def units(self, names: list[str]) -> None:
        self._announcer.progress(json.dumps({"units": names}))

    def event(self, event: Event) -> None:
        self._announcer.progress(json.dumps({"event": [event.service, event.kind.value, event.detail]}))

    def progress(self, stage: str, share: float, detail: str) -> None:
        self._announcer.progress(json.dumps({"stage": stage, "share": share, "detail": detail}))

    def say(self, text: str) -> None:
        self._announcer.progress(json.dumps({"say": text}))

    def settled(self) -> None:
        """The announcer's own word follows."""


def relay(text: str, view: View) -> None:
    """Shows what an AnnouncedView sent."""
    with suppress(ValueError, KeyError):
        found = json.loads(text)
        if "units" in found:
            view.units(found["units"])
        elif "event" in found:
            name, kind, detail = found["event"]
            view.event(Event(name, EventKind(kind), detail))
        elif "stage" in found:
            view.progress(found["stage"], found["share"], found["detail"])
        else:
            view.say(found["say"])


class Views:
    """Several views as one."""

    def __init__(self, *views: View) -> None:
        self._views = views

    def units(self, names: list[str]) -> None:
        for view in self._views:
            view.units(names)

    def event(self, event: Event) -> None:
        for view in self._views:
            view.event(event)

    def progress(self, stage: str, share: float, detail: str) -> None:
        for view in self._views:
            view.progress(stage, share, detail)

    def say(self, text: str) -> None:
        for view in self._views:
            view.say(text)

    def settled(self) -> None:
        for view in self._views:
            view.settled()
