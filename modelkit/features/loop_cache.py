"""Where translated loops are kept, and when what is kept counts: only while no module of this folder has changed.

A loop is made of functions and numbers of several modules, so each state of the folder has a place of its own. What is kept
is a convenience: damaged, full or not to be written, the loop is translated anew and the process goes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numba
from numba.core import caching

_HERE = Path(__file__).parent
_IN_TREE = _HERE / "__pycache__"
_log = logging.getLogger(__name__)


def sources_stamp(folder: Path = _HERE) -> str:
    """sha256 of all modules of a folder and of the version of what translates them."""
    digest = hashlib.sha256(numba.__version__.encode())
    for file in sorted(folder.glob("*.py")):
        digest.update(b"\0".join((file.name.encode(), str(file.stat().st_size).encode(), file.read_bytes())))
    return digest.hexdigest()


def place(stamp: str) -> Path | None:
    """The folder of this state of the sources: in NUMBA_CACHE_DIR, beside them, or in a folder of this user alone; None
    where nothing can be written."""
    name, named = f"loops-{stamp[:16]}", os.getenv("NUMBA_CACHE_DIR")
    if named and _writable(Path(named) / name):
        if not (why := why_not_ours(Path(named) / name)):
            return Path(named) / name
        _log.warning("NUMBA_CACHE_DIR=%s is not used: %s; machine code is loaded from no such folder", named, why)
    kept = _IN_TREE / name
    # Whoever may write the sources needs no cache to run code here, so no more is asked than is asked of them.
    if _writable(kept) and not why_not_ours(kept, _HERE):
        return kept
    own = Path(tempfile.gettempdir()) / f"mesh-loops-{os.getuid()}"
    if not _writable(own) or not _writable(own / name) or why_not_ours(own / name):
        return None
    if kept.exists() and not why_not_ours(kept, _HERE):
        _take_along(kept, own / name)
    return own / name


def why_not_ours(folder: Path, within: Path | None = None) -> str:
    """Why somebody other than this user and root may have put files into a folder that is there; empty if nobody may.

    Looks at all that is in it, itself and all folders above it, by the path as given and without its links; `within` ends that
    way, and what may be written there may be written below.
    """
    paths = {Path(os.path.abspath(folder)), folder.resolve()}  # noqa: PTH100 (resolve would follow the links)
    above = {one for path in paths for one in path.parents}
    allowed = 0
    if within is not None:
        above = {one for one in above if one.is_relative_to(within) and one != within}
        allowed = within.stat().st_mode
    inside = set(folder.rglob("*"))
    for path in (*sorted(inside), *paths, *sorted(above)):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            if path in inside:
                return f"{path} is a link"
            continue  # where it leads is looked at as well
        if found.st_uid not in (os.getuid(), 0):
            return f"{path} belongs to user {found.st_uid}"
        open_to = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) & ~allowed
        if open_to and not (path in above and found.st_mode & stat.S_ISVTX):
            return f"{path} can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return ""


def forget_others() -> None:
    """Removes what was kept of other states of the sources."""
    if (kept := folder()) is not None:
        for other in kept.parent.glob("loops-*"):
            if other != kept:
                shutil.rmtree(other, ignore_errors=True)


def _writable(folder: Path) -> bool:
    try:
        # Each by itself: a mode counts for the last of several folders only, and the others may be open to a group.
        for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _take_along(source: Path, target: Path) -> None:
    """What lies beside sources that cannot be written, as in an image, need not be made again."""
    with suppress(OSError):
        for file in source.glob("*/*.nb[ic]"):
            copy = target / file.relative_to(source)
            copy.parent.mkdir(mode=0o700, exist_ok=True)
            if not copy.exists():
                shutil.copyfile(file, copy)
                copy.chmod(0o600)


@cache
def folder() -> Path | None:
    """The place of this process; looked for when the first loop is translated, and not at import."""
    return place(sources_stamp())


class LoopCache(caching.NullCache):
    """numba's cache of one function, in our folder; but whatever happens to its files, the process goes on.

    numba's `cache=True` alone would not do: what it reads from a damaged file or writes to a full disk ends the caller, what
    a user shares with a group is born writable for it, and a change of another module leaves a loop as it was.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _kept(self) -> caching.FunctionCache | None:
        if (ours := folder()) is None:
            return None
        with _numba_keeps_in(ours), _written_by_this_user(), suppress(RuntimeError, OSError):
            kept = caching.FunctionCache(self._function)  # type: ignore[no-untyped-call]
            # Where numba cannot write, it would go on to places of its own, which nobody has looked at.
            if Path(kept.cache_path).parent == ours:
                return kept
        return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return self._kept and self._kept.load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # anything can come of unpickling a damaged file
            self._forget("is damaged, and translated anew", error)
            return None

    def save_overload(self, sig: Any, cres: Any) -> None:
        try:
            if self._kept is not None:
                with _written_by_this_user():
                    self._kept.save_overload(sig, cres)  # type: ignore[no-untyped-call]
        except Exception as error:
            self._forget("cannot be kept", error)

    def _forget(self, what: str, error: Exception) -> None:
        """An index that cannot be read would keep the next process from keeping anything, too."""
        _log.warning("the translation of %r %s: %s: %s", self._function, what, type(error).__name__, error)
        if self._kept is not None:
            with suppress(Exception):
                self._kept.flush()  # type: ignore[no-untyped-call]


@contextmanager
def _numba_keeps_in(ours: Path) -> Iterator[None]:
    config: Any = numba.config  # its names are made from the environment
    before, config.CACHE_DIR = config.CACHE_DIR, str(ours)
    try:
        yield
    finally:
        config.CACHE_DIR = before


@contextmanager
def _written_by_this_user() -> Iterator[None]:
    """Where people share their files with a group, nobody else may write these all the same, or they would not be loaded."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
