"""Where translated loops are kept, and when what is kept counts: only while no module of this folder has changed.

A loop is made of functions and numbers of several modules, so each state of the folder has a place of its own. What is kept
is a convenience: damaged, full or not to be written, the loop is translated anew and the process goes on.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
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
    for base in (Path(named) if named else None, _IN_TREE):
        if base is not None and _writable(base / name):
            return base / name
    own = Path(tempfile.gettempdir()) / f"mesh-loops-{os.getuid()}"
    if not _writable(own) or not _private(own) or not _writable(own / name):
        return None
    _take_along(_IN_TREE / name, own / name)
    return own / name


def forget_others() -> None:
    """Removes what was kept of other states of the sources."""
    if FOLDER is not None:
        for folder in FOLDER.parent.glob("loops-*"):
            if folder != FOLDER:
                shutil.rmtree(folder, ignore_errors=True)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private(folder: Path) -> bool:
    """Whether nobody else can have put machine code there."""
    found = folder.lstat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o077 and not folder.is_symlink()


def _take_along(source: Path, target: Path) -> None:
    """What lies beside sources that cannot be written, as in an image, need not be made again."""
    with suppress(OSError):
        for file in source.glob("*.nb[ic]"):
            if not (target / file.name).exists():
                shutil.copy(file, target)


STAMP = sources_stamp()
FOLDER = place(STAMP)


class _Locator(caching._CacheLocator):
    """One folder and one stamp for all loops."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator | None:
        return None if FOLDER is None else cls()

    def get_cache_path(self) -> str:
        return str(FOLDER)

    def get_source_stamp(self) -> str:
        return STAMP

    def get_disambiguator(self) -> str | None:
        return None


class _Files(caching.CompileResultCacheImpl):
    _locator_classes: list[type[object]] = [_Locator]  # noqa: RUF012 (numba's form)


class LoopCache(caching.FunctionCache):
    """numba's cache; but whatever happens to its files, the process goes on."""

    _impl_class = _Files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except Exception as error:  # anything can come of unpickling a damaged file
            self._forget("is damaged, and translated anew", error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except Exception as error:
            self._forget("cannot be kept", error)

    def _forget(self, what: str, error: Exception) -> None:
        """An index that cannot be read would keep the next process from keeping anything, too."""
        index = Path(self.cache_path) / f"{self._impl.filename_base}.nbi"
        _log.warning("the translation of %s %s: %s: %s", self._name, what, type(error).__name__, error)
        with suppress(OSError):
            index.unlink(missing_ok=True)
