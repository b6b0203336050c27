"""Files that are there whole or not at all: each is written beside its place first, and all are then moved there."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cli.exits import CommandFailed, ExitCode


def check_file(option: str, path: Path, force: bool) -> Path:
    """Where a file is to be written. Raises CommandFailed if it is there already and not to be replaced, or cannot be."""
    place = path.expanduser().resolve()
    if place.is_dir():
        raise _refused(option, path, "is a folder; must be a file", "name a file in it")
    if place.exists() and not place.is_file():
        # Such as /dev/null: it would be gone, and a file in its place.
        raise _refused(option, path, "is no ordinary file", "name one, or - for standard output")
    if not place.parent.is_dir():
        raise _refused(option, path, "lies in a folder that is not there", f"make {place.parent} first")
    if place.exists() and not force:
        raise _refused(option, path, "is there already; it is not written over", "say --force, or name another file")
    if not os.access(place.parent, os.W_OK):
        raise _refused(option, path, f"cannot be written: {place.parent} is not writable", "name another folder")
    return place


def check_folder(option: str, path: Path, names: Iterable[str], force: bool) -> Path:
    """A folder for files of these names, made when they are written. Raises CommandFailed like `check_file`."""
    place = path.expanduser().resolve()
    if place.exists() and not place.is_dir():
        raise _refused(option, path, "is a file; must be a folder", "name a folder")
    if not place.exists():
        if not place.parent.is_dir():
            raise _refused(option, path, "lies in a folder that is not there", f"make {place.parent} first")
        if not os.access(place.parent, os.W_OK):
            raise _refused(option, path, f"cannot be made: {place.parent} is not writable", "name another folder")
        return place
    there = [name for name in names if os.path.lexists(place / name)]
    odd = [name for name in there if not (place / name).is_file()]
    if odd:
        raise _refused(option, path, f"has {', '.join(odd)}, which are no ordinary files", "name another folder")
    if there and not force:
        rule = f"has {', '.join(there)} already; they are not written over"
        raise _refused(option, path, rule, "say --force, or name another folder")
    if not os.access(place, os.W_OK):
        raise _refused(option, path, "is not writable", "name another folder")
    return place


def write_whole_files(option: str, contents: Mapping[Path, bytes]) -> None:
    """Writes all of them, readable by their owner only, and makes their folder. Raises CommandFailed, and leaves nothing of
    them behind, where that fails."""
    drafts: list[tuple[Path, Path]] = []
    made: list[Path] = []
    path = Path()
    try:
        for path, data in contents.items():
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700)
                made.append(path.parent)
            draft = path.with_name(f".{path.name}.{os.getpid()}.new")
            drafts.append((draft, path))
            write_draft(draft, data)
        for draft, path in drafts:
            draft.replace(path)
    except OSError as error:
        raise CommandFailed(
            f"{option}: {path} cannot be written: {error.strerror}; nothing was written",
            "make room, or name a place that you may write to",
            ExitCode.USAGE,
        ) from None
    finally:
        # Also after an interruption. What was moved to its place is no draft any more, and keeps its folder.
        for draft, _ in drafts:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def write_draft(path: Path, data: bytes) -> None:
    """A file on the disk, readable by its owner only; to be moved to its place."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _refused(option: str, path: Path, rule: str, advice: str) -> CommandFailed:
    return CommandFailed(f"{option} {path} {rule}; nothing was written", advice, ExitCode.USAGE)
