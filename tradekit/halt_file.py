"""The halt file of one machine: a trading state that holds before any process or database knows of it.

Whoever halts writes it, the executor looks at it before every send, and it goes once the database has the state. A state
in the file only ever tightens; a file that cannot be read counts as HALTED.
"""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tradekit.states import TradingState

UNREADABLE = "the halt file cannot be read"
_LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Halt:
    """What was ordered, why, and when (wall time, ISO 8601; for people only)."""

    state: TradingState
    note: str
    set_at: str = ""


def read(path: Path) -> Halt | None:
    """The order in the file, None if there is no file."""
    try:
        raw = path.read_bytes()[: _LARGEST + 1]
        stored = json.loads(raw)
        return Halt(TradingState(stored["state"]), str(stored["note"]), str(stored["set_at"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Halt(TradingState.HALTED, UNREADABLE)


def write(path: Path, halt: Halt) -> Halt:
    """Puts an order into the file, kept through a crash of the machine; gives what holds now: the stricter of old and new.

    Raises OSError where the folder cannot be written.
    """
    before = read(path)
    if before is not None and before.state.rank >= halt.state.rank:
        return before
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"state": halt.state.value, "note": halt.note, "set_at": halt.set_at}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return halt


def take(path: Path, aside: Path) -> Halt | None:
    """Moves the file aside, so that an order given meanwhile makes a new one; gives the order, None if there is none."""
    if not aside.exists():
        try:
            path.replace(aside)
        except FileNotFoundError:
            return None
        _sync_folder(path.parent)
    return read(aside)


def now_text(now: datetime) -> str:
    """A time as the file has it."""
    return now.isoformat(timespec="seconds")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
