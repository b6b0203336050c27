"""buf's gates as tests: format, lint with comments on everything, compatibility, and generated code that is current."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.contract_walk import ROOT

BUF = ROOT / "node_modules" / ".bin" / "buf"
pytestmark = pytest.mark.skipif(not BUF.exists(), reason="buf is not installed (make lint installs it where npm is)")


def buf(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BUF), *arguments], cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the contracts that a test may spoil."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_contracts_are_formatted_linted_and_compatible() -> None:
    for gate in (
        ("format", "-d", "--exit-code"),
        ("lint",),
        ("breaking", "proto", "--against", "proto/baseline.binpb"),
    ):
        done = buf(*gate)
        assert done.returncode == 0, f"buf {' '.join(gate)}\n{done.stdout}{done.stderr}"


def test_an_element_without_comment_is_found(workspace: Path) -> None:
    path = workspace / "proto/trading/common/v1/decimal.proto"
    path.write_text(path.read_text().replace("  // Amount in units of the currency.\n", ""))
    done = buf("lint", folder=workspace)
    assert done.returncode != 0
    assert "amount" in done.stdout


def test_a_deleted_field_is_found(workspace: Path) -> None:
    path = workspace / "proto/trading/common/v1/decimal.proto"
    path.write_text(path.read_text().replace("  string currency = 2;\n", ""))
    done = buf("breaking", "proto", "--against", str(ROOT / "proto/baseline.binpb"), folder=workspace)
    assert done.returncode != 0
    assert "currency" in done.stdout


def test_generated_code_is_that_of_the_contracts(tmp_path: Path) -> None:
    # The template names the interpreter of .venv; this one may be elsewhere.
    template = (ROOT / "buf.gen.yaml").read_text()
    assert ".venv/bin/python" in template
    written = tmp_path / "buf.gen.yaml"
    written.write_text(template.replace(".venv/bin/python", sys.executable))
    done = buf("generate", "--template", str(written), "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    fresh, committed = tmp_path / "gen/python", ROOT / "gen/python"
    names = generated_files(fresh)
    assert names == generated_files(committed)
    assert [name for name in names if not filecmp.cmp(fresh / name, committed / name, shallow=False)] == []
    assert any(name.endswith(".pyi") for name in names)


def generated_files(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        found += [str(Path(parent, name).relative_to(folder)) for name in names]
    return sorted(found)
