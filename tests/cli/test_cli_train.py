"""`mesh train`: it reports all faults of its options at once, and shows progress without a terminal."""

import asyncio
import io
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from cli.exits import CommandFailed, ExitCode
from cli.train_options import TrainOptions, check_options
from cli.train_progress import PROGRESS_FILE, training_progress
from tests.cli.conftest import Mesh


def refused(options: TrainOptions) -> list[str]:
    with pytest.raises(CommandFailed) as failed:
        check_options(options)
    assert failed.value.code is ExitCode.USAGE
    first, *faults = failed.value.message.split("\n  ")
    assert first == f"nothing was trained: {len(faults)} option(s) are not usable"
    return faults


def test_every_fault_is_told_at_once_and_nothing_is_made(mesh: Mesh, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    ran = mesh(
        *("train", "--file", str(tmp_path / "absent.parquet"), "--products", "BTC-USD,btc,x y"),
        *("--report", str(taken / "deep" / "report"), "--backend", "celery"),
    )
    assert ran.code == 2 and "4 option(s)" in ran.said
    for told in ("absent.parquet is not there", "--products: BTC, X Y;", "taken is a file", "'celery' is not one of"):
        assert told in ran.said
    faults = refused(TrainOptions(serve=True, jobs=2, products="BTC-USD", taker_fee=0.1))
    assert faults[0].startswith("--serve, --jobs: only with --report")
    assert faults[1].startswith("--products, --taker-fee: only with --file")
    report = tmp_path / "new" / "report"
    assert refused(TrainOptions(report=report, file=tmp_path)) == [f"--file: {tmp_path} is a folder; name one file"]
    assert not report.parent.exists()
    check_options(TrainOptions())
    check_options(TrainOptions(report=report, file=taken, products="btc-usd"))
    assert list(report.iterdir()) == []


def test_a_folder_that_only_looks_writable_is_found_out_before_the_training(tmp_path: Path) -> None:
    [fault] = refused(TrainOptions(report=Path("/proc/report")))
    assert "/proc" in fault and "cannot be written to" in fault
    if os.geteuid() == 0:
        return
    tmp_path.chmod(0o500)
    [fault] = refused(TrainOptions(report=tmp_path / "report"))
    assert "cannot be written to" in fault


def test_progress_is_a_file_of_lines_where_there_is_no_terminal_and_a_bar_where_there_is_one(tmp_path: Path) -> None:
    said = io.StringIO()
    with training_progress(Console(file=said), tmp_path) as show:
        show("reading candles", 0.0)
        show("fit 3 of 30", 0.125)
        assert (tmp_path / PROGRESS_FILE).read_text().count("\n") == 2, "each line reaches the file at once"
    lines = (tmp_path / PROGRESS_FILE).read_text().splitlines()
    assert [re.sub(r"^\S+Z +", "", line) for line in lines] == ["0% reading candles", "12% fit 3 of 30"]
    assert str(tmp_path / PROGRESS_FILE) in said.getvalue()
    (tmp_path / PROGRESS_FILE).unlink()
    with training_progress(Console(file=said, force_terminal=True), tmp_path) as show:
        show("reading candles", 0.0)
    with training_progress(Console(file=said), None) as show:
        show("reading candles", 0.0)
    assert not (tmp_path / PROGRESS_FILE).exists()


def test_a_training_that_ends_without_a_model_says_so_in_its_progress(mesh: Mesh, tmp_path: Path) -> None:
    """A real job, in a process of its own, on too few candles."""
    bars = 300
    start = pa.array(np.arange(bars) * 3_600_000_000 + 1_735_689_600_000_000, pa.timestamp("us", "UTC"))
    columns = {name: np.full(bars, 100.0) for name in ("open", "high", "low", "close", "volume")}
    table = {"product_id": ["BTC-USD"] * bars, "granularity": ["ONE_HOUR"] * bars, "start": start, **columns}
    pq.write_table(pa.table(table), tmp_path / "few.parquet")
    ran = mesh("train", "--file", str(tmp_path / "few.parquet"), "--report", str(tmp_path / "report"))
    assert ran.code == 1 and "no model could be trained" in ran.said
    assert f"progress {tmp_path / 'report' / PROGRESS_FILE}" in ran.said
    lines = (tmp_path / "report" / PROGRESS_FILE).read_text().splitlines()
    assert lines[0].endswith("0% reading candles") and "ended without a model: StepFailed" in lines[-1]
    assert not any("100%" in line for line in lines)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "interrupted, ended without a model"),
        (asyncio.CancelledError(), "interrupted, ended without a model"),
        (ValueError("no"), "ended without a model: ValueError no"),
    ],
)
def test_a_training_that_is_broken_off_keeps_the_share_it_had(tmp_path: Path, error: BaseException, said: str) -> None:
    with pytest.raises(type(error)), training_progress(Console(file=io.StringIO()), tmp_path) as show:
        show("fit 3 of 30", 0.125)
        raise error
    lines = (tmp_path / PROGRESS_FILE).read_text().splitlines()
    assert [re.sub(r"^\S+Z +", "", line) for line in lines] == ["12% fit 3 of 30", f"12% {said}"]
