"""The image, built by what Debian packages: buildah on a base that debootstrap makes, run by podman without a network.

No registry is asked. Everything lies in build/image of this checkout and is kept for the next time: the base, and the layers.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.pythons import TRUST

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "image"
BASE, IMAGE = "localhost/trading-base", "localhost/trading-mesh"
PROGRAMS = ("buildah", "podman", "debootstrap", "runc")
INSIDE = "python3,ca-certificates"
BUILD_SECONDS = 3600


def fault() -> str | None:
    """Why no image can be built here; None if one can."""
    if os.geteuid() != 0:
        return "building the image needs root"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return (
        f"{', '.join(missing)}: not installed; apt-get install --no-install-recommends {' '.join(PROGRAMS)}"
        if missing
        else None
    )


def run(*command: str | Path, seconds: float = 600) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}")
    return done.stdout


def stored(program: str, *arguments: str | Path) -> tuple[str | Path, ...]:
    """A command of buildah or podman on the store of this checkout."""
    groups = ("--cgroup-manager", "cgroupfs") if program == "podman" else ()
    return (program, "--root", FOLDER / "store", "--runroot", FOLDER / "run", *groups, *arguments)


def ensure_base() -> None:
    """A small Debian with Python as an image."""
    have = subprocess.run(stored("buildah", "inspect", "--type", "image", BASE), capture_output=True, check=False)
    if have.returncode == 0:
        return
    system = FOLDER / "base"
    if not (system / "usr" / "bin" / "python3").exists():
        shutil.rmtree(system, ignore_errors=True)
        system.mkdir(parents=True)
        run("debootstrap", "--variant=minbase", f"--include={INSIDE}", "bookworm", system, seconds=BUILD_SECONDS)
        # As the small images of Debian are.
        for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(system / waste, ignore_errors=True)
        (system / "var/lib/apt/lists/partial").mkdir(parents=True)
    for name in TRUST:  # how this machine reaches its package registries
        if (Path("/") / name).exists():
            shutil.copyfile(Path("/") / name, system / name)
    container = run(*stored("buildah", "from", "scratch")).strip()
    try:
        run(*stored("buildah", "copy", container, system, "/"))
        run(*stored("buildah", "commit", container, BASE))
    finally:
        run(*stored("buildah", "rm", container))


def build() -> None:
    """The image from the Containerfile."""
    ensure_base()
    options = ("--isolation", "chroot", "--layers", "--build-arg", f"BASE={BASE}", "--ignorefile", ".containerignore")
    run(*stored("buildah", "build", *options, "-f", "Containerfile", "-t", IMAGE, "."), seconds=BUILD_SECONDS)


@contextmanager
def container(*arguments: str, options: Sequence[str] = ()) -> Iterator[str]:
    """A container that runs with these arguments, as the manifests run it; removed afterwards."""
    restricted = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    alone = () if "--network" in options else ("--network", "none")
    # A volume takes the owner of the folder that it is mounted over, as in the compose file.
    writable = ("--tmpfs", "/tmp", "--volume", "/var/lib/trading")
    # A machine that is lent out gives its own limits and no more.
    limits = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096")
    how = ("--detach", "--runtime", "runc", *limits, *restricted, *alone, *writable, *options)
    name = run(*stored("podman", "run", *how, IMAGE, *arguments)).strip()
    try:
        yield name
    finally:
        with suppress(AssertionError):
            run(*stored("podman", "rm", "--force", "--volumes", "--time", "5", name))


def inside(name: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in a running container."""
    whole = stored("podman", "exec", name, *command)
    return subprocess.run(whole, capture_output=True, text=True, timeout=120, check=False)


def logs(name: str) -> str:
    """All that a container has said."""
    done = subprocess.run(stored("podman", "logs", name), capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
