"""Decides whether `mesh train` can begin: it reports every fault of its options at once, before anything costs time.

A training takes minutes to hours; an option that fails at its end, or faults told one by one, would cost them again.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cli.exits import CommandFailed, ExitCode
from tradekit.products import is_product_id


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The command line; None means not said."""

    report: Path | None = None
    file: Path | None = None
    products: str | None = None
    taker_fee: float | None = None
    serve: bool | None = None
    jobs: int | None = None
    backend: str | None = None

    @property
    def product_list(self) -> tuple[str, ...]:
        return tuple(part.strip().upper() for part in (self.products or "").split(",") if part.strip())


def check_options(options: TrainOptions) -> None:
    """Raises CommandFailed with every fault. Makes the folder of the report, if there is none."""
    faults = [*_misplaced(options), *_unusable(options)]
    if not faults and options.report is not None:
        faults = _not_writable(options.report)
    if faults:
        message = f"nothing was trained: {len(faults)} option(s) are not usable"
        raise CommandFailed("\n  ".join((message, *faults)), "`mesh train --help` explains them", ExitCode.USAGE)


def _misplaced(options: TrainOptions) -> list[str]:
    """Options that would do nothing."""
    faults = []
    thorough = {"file": options.file, "serve": options.serve, "jobs": options.jobs, "backend": options.backend}
    if options.report is None and (alone := [f"--{name}" for name, each in thorough.items() if each is not None]):
        faults.append(f"{', '.join(alone)}: only with --report")
    of_file = {"products": options.products, "taker-fee": options.taker_fee}
    if options.file is None and (alone := [f"--{name}" for name, each in of_file.items() if each is not None]):
        faults.append(f"{', '.join(alone)}: only with --file; stored candles have those of the instance")
    return faults


def _unusable(options: TrainOptions) -> list[str]:
    """Values that cannot be meant."""
    faults = []
    if options.file is not None and not options.file.is_file():
        what = "is a folder; name one file" if options.file.is_dir() else "is not there"
        faults.append(f"--file: {options.file} {what}")
    elif options.file is not None and not os.access(options.file, os.R_OK):
        faults.append(f"--file: {options.file} cannot be read")
    if bad := [name for name in options.product_list if not is_product_id(name)]:
        faults.append(f"--products: {', '.join(bad)}; products look like BTC-USD")
    if options.report is not None:
        faults += _no_folder(options.report)
    return faults + ([] if options.backend is None else _no_backend(options.backend))


def _no_backend(name: str) -> list[str]:
    from training.walkforward_parallel import BackendMissing, require_backend

    try:
        require_backend(name)
    except (BackendMissing, ValueError) as error:
        return [f"--backend: {error}"]
    return []


def _no_folder(report: Path) -> list[str]:
    """What can be said of the folder without touching anything."""
    there = next(each for each in (report.absolute(), *report.absolute().parents) if each.exists())
    if not there.is_dir():
        return [f"--report: {there} is a file, not a folder"]
    return [] if os.access(there, os.W_OK | os.X_OK) else [f"--report: {there} cannot be written to"]


def _not_writable(report: Path) -> list[str]:
    """Whether a file can be made there is known only by making one."""
    try:
        report.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=report):
            return []
    except OSError as error:
        return [f"--report: {report} cannot be written to: {error.strerror}"]
