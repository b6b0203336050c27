"""The halt file of one machine: a trading state that holds before any process or database knows of it.

Whoever halts writes it, the executor looks at it before every send, and it goes once the database has the state. An order in
the file only ever tightens. Whatever lies there and cannot be read as one (garbage, a folder, a pipe) counts as HALTED, and
reading it never waits. Each order has an id of its own, so that an older resume does not take a newer halt for the one that
it was asked to end. On a full disk a symbolic link says it: its target is the order, and needs no block of the disk.
"""

import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from meshkit.text import harmless
from tradekit.states import TradingState

LONGEST_NOTE = 200
UNREADABLE = "the halt file cannot be read"
_LARGEST = 16_384
# Bytes of a link's target that ext4 keeps without a block of its own; other file systems keep more.
_LONGEST_LINK = 59


def clean_note(note: str) -> str:
    """A note that nothing on its way can stumble over: printable, at most 200 characters. A note never breaks a halt."""
    return harmless(note.encode("utf-8", "replace").decode())[:LONGEST_NOTE].strip() or "no note"


@dataclass(frozen=True, slots=True)
class Halt:
    """What was ordered, why, when (wall time, ISO 8601; for people only), and which order it is."""

    state: TradingState
    note: str
    set_at: str = ""
    order: str = field(default_factory=lambda: secrets.token_hex(8))


def read(path: Path) -> Halt | None:
    """The order in the file, None if there is nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError:
        return _of_link(path) or _unreadable(path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return _unreadable(path)
        stored = json.loads(os.read(descriptor, _LARGEST))
        return Halt(
            TradingState(stored["state"]), clean_note(str(stored["note"])), str(stored["set_at"]), str(stored["order"])
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return _unreadable(path)
    finally:
        os.close(descriptor)


def _of_link(path: Path) -> Halt | None:
    """The order that a link's target is; None if it is another link, or none."""
    try:
        # As it stands: Path.readlink would make one slash of two in the note.
        state, order, note = os.readlink(path).split(":", 2)  # noqa: PTH115
        return Halt(TradingState(state), clean_note(note), order=order)
    except (OSError, ValueError):
        return None


def _unreadable(path: Path) -> Halt:
    """The same thing is the same order, however often it is looked at."""
    try:
        found = path.lstat()
        order = f"unreadable-{found.st_ino}-{found.st_mtime_ns}"
    except OSError:
        order = "unreadable"
    return Halt(TradingState.HALTED, UNREADABLE, order=order)


def write(path: Path, halt: Halt, *, beside: bool = False) -> Halt:
    """Puts an order into the file, kept through a crash of the machine; gives the strictest that lies there now. `beside`
    replaces nothing: what lies there may be newer than this order.

    A full disk keeps the order without its time and most of its note. Raises OSError where the folder takes nothing at all.
    """
    halt = Halt(halt.state, clean_note(halt.note), halt.set_at, halt.order)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        try:
            _write_draft(draft, halt)
        except OSError:
            draft.unlink(missing_ok=True)
            halt = _link_draft(draft, halt)
        held = _place(draft, path, halt, beside)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return held


def _write_draft(draft: Path, halt: Halt) -> None:
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"state": halt.state.value, "note": halt.note, "set_at": halt.set_at, "order": halt.order}, file)
        file.flush()
        os.fsync(file.fileno())


def _link_draft(draft: Path, halt: Halt) -> Halt:
    """The order as a link, and as much of it as the link keeps."""
    words = f"{halt.state.value}:{halt.order}:{halt.note}".encode()[:_LONGEST_LINK].decode(errors="ignore")
    draft.symlink_to(words)
    return Halt(halt.state, clean_note(words.split(":", 2)[2]), order=halt.order)


def _place(draft: Path, path: Path, halt: Halt, beside: bool) -> Halt:
    """Nothing is stricter than HALTED, so a new one may replace whatever lies there. Anything else only takes a free place:
    what another process writes in the same moment must not be lost, and a looser order counts once the stricter is over."""
    if halt.state is TradingState.HALTED and not beside:
        draft.replace(path)
        return halt
    try:
        os.link(draft, path, follow_symlinks=False)
    except OSError:
        before = read(path)
        draft.replace(_aside(path))
        return before if before is not None and before.state.rank > halt.state.rank else halt
    draft.unlink()
    return halt


def _aside(path: Path) -> Path:
    """A place of its own beside the file, which counts as much."""
    return path.with_name(f"{path.name}.merging-{secrets.token_hex(8)}")


def _moved_aside(path: Path) -> list[Path]:
    """Looked for at every send, so without a pattern's machinery; a folder that is not there holds nothing. OSError."""
    prefix = f"{path.name}.merging-"
    try:
        return [one for one in path.parent.iterdir() if one.name.startswith(prefix)]
    except FileNotFoundError:
        return []


def pending(path: Path) -> dict[Path, Halt]:
    """Every order that the database may not have yet: the file, and what was moved aside while it is being written there.
    A folder that cannot be listed counts as HALTED: nobody knows what lies aside."""
    found: dict[Path, Halt] = {}
    try:
        aside = _moved_aside(path)
    except OSError:
        aside = []
        found[path.with_name(f"{path.name}.merging-")] = _unreadable(path.parent)
    for one in (path, *aside):
        halt = read(one)
        if halt is not None and halt.state is not TradingState.ACTIVE:
            found[one] = halt
    return found


def can_be_cleared(path: Path) -> bool:
    """Whether orders that lie there could be taken away, as far as the folder tells beforehand."""
    return os.access(path.parent, os.R_OK | os.W_OK | os.X_OK)


def take(path: Path) -> dict[Path, Halt]:
    """Moves the file aside, so that an order given meanwhile makes a new one, and gives all that is aside. What cannot be
    moved is given where it lies."""
    with suppress(OSError):
        path.replace(_aside(path))
        _sync_folder(path.parent)
    return pending(path)


def discard(path: Path, halt: Halt) -> bool:
    """Takes away an order that the database has; what cannot be deleted is renamed. False if it lies there still. Another
    order that lies there by now stays."""
    there = read(path)
    if there is not None and there.order != halt.order:
        return True
    try:
        path.unlink(missing_ok=True)
        return True
    except OSError:
        pass
    try:
        path.replace(path.with_name(f"{path.name}.unreadable-{secrets.token_hex(4)}".replace(".merging-", ".was-")))
        return True
    except OSError:
        return False


def now_text(now: datetime) -> str:
    """A time as the file has it."""
    return now.isoformat(timespec="seconds")


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
