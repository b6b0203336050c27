"""Machine code gives the bits of the formulas as they are written: both engines, run by Python itself, agree with it.

What a compiler may do to numbers, such as fusing a product into a sum or replacing a division, would show here.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelkit.features import compiled as module
from modelkit.features import loop_cache
from modelkit.features.compiled import compiled
from modelkit.features.loop_cache import sources_stamp
from tests.signal.engine_digests import digests


def test_machine_code_gives_the_bits_of_the_formulas_as_written():
    python = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    told = "import sys; from tests.signal.engine_digests import digests; sys.stdout.write(' '.join(digests()))"
    argv = [sys.executable, "-W", "ignore", "-c", told]
    plain = subprocess.run(argv, env=python, capture_output=True, text=True, timeout=120, check=True)
    assert plain.stdout.split() == digests()


def test_where_nothing_can_be_kept_a_function_is_translated_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop_cache, "folder", lambda: None)
    assert compiled(lambda x: x + x)(1.5) == 3.0


def test_what_is_kept_counts_only_while_no_module_has_changed(tmp_path: Path):
    folder = Path(module.__file__).parent
    for file in folder.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert sources_stamp(tmp_path) == sources_stamp(folder)
    for changed in ("rows.py", "compiled.py", "definition.py"):
        before = sources_stamp(tmp_path)
        with (tmp_path / changed).open("a") as file:
            file.write("# changed\n")
        assert sources_stamp(tmp_path) != before


def in_a_new_process(cache: Path, first: str = "") -> str:
    """What a process says that calls a loop; the answer has to be right."""
    told = f"{first}; from modelkit.features.compiled import larger; assert larger(1.0, 2.0) == 2.0"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", told.removeprefix("; ")]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=600, check=True).stderr


@pytest.fixture(params=[0o022, 0o002], ids=["one's own", "shared with a group"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """How new files are born: many systems let a user's group write them."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_file_is_translated_anew_told_once_and_replaced(tmp_path: Path, ending: str, content: bytes):
    assert in_a_new_process(tmp_path) == ""
    (file,) = tmp_path.glob(f"loops-*/*/compiled.larger*.{ending}")
    whole = file.read_bytes()
    file.write_bytes(content)
    assert "is damaged, and translated anew" in in_a_new_process(tmp_path)
    assert len(file.read_bytes()) == len(whole)
    assert in_a_new_process(tmp_path) == ""


def test_nothing_is_looked_for_or_made_until_a_loop_is_called(tmp_path: Path):
    told = "import modelkit.features.live, modelkit.features.history"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", told], env=environment, timeout=60, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_of_numbas_own_is_never_loaded_from(tmp_path: Path):
    """numba goes on to another place where it cannot write; here somebody asks it to."""
    other = "import os; os.environ['NUMBA_CACHE_LOCATOR_CLASSES'] = 'UserWideCacheLocator'"
    home = f"{other}; os.environ['HOME'] = os.environ['XDG_CACHE_HOME'] = {str(tmp_path / 'home')!r}"
    for _ in range(2):
        assert in_a_new_process(tmp_path / "cache", home) == ""
    assert [path for path in tmp_path.rglob("*.nb*") if path.is_file()] == []


def test_on_a_full_disk_a_loop_is_translated_and_not_kept(tmp_path: Path):
    no_room = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    assert "cannot be kept" in in_a_new_process(tmp_path, no_room)
    assert in_a_new_process(tmp_path) == ""


@pytest.mark.usefixtures("umask")
def test_where_sources_cannot_be_written_a_private_folder_takes_what_lies_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    beside, name = tmp_path / "tree", "loops-0123456789abcdef"
    (beside / name / "features").mkdir(parents=True)
    for one in (beside / name, beside / name / "features"):
        one.chmod(0o755)
    (beside / name / "features" / "a.nbi").write_bytes(b"made before")
    (beside / name / "features" / "a.nbi").chmod(0o644)
    writable = loop_cache._writable
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(loop_cache, "_IN_TREE", beside)
    monkeypatch.setattr(loop_cache, "_writable", lambda folder: beside not in folder.parents and writable(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    chosen = loop_cache.place("0123456789abcdef" * 4)
    assert chosen is not None and (chosen / "features" / "a.nbi").read_bytes() == b"made before"
    assert chosen.parent.stat().st_mode & 0o777 == 0o700
    assert loop_cache.place("0123456789abcdef" * 4) == chosen
    chosen.parent.chmod(0o777)
    assert loop_cache.place("0123456789abcdef" * 4) is None, "anybody could have put machine code there"


def spoiled_mode(folder: Path) -> None:
    folder.chmod(0o777)


def spoiled_parent(folder: Path) -> None:
    folder.parent.chmod(0o775)


def spoiled_file(folder: Path) -> None:
    (folder / "x.nbc").write_bytes(b"")
    (folder / "x.nbc").chmod(0o666)


def spoiled_folder_inside(folder: Path) -> None:
    (folder / "features").mkdir()
    (folder / "features").chmod(0o775)


def spoiled_file_inside(folder: Path) -> None:
    (folder / "features").mkdir(mode=0o700)
    spoiled_file(folder / "features")


def spoiled_link(folder: Path) -> None:
    (folder / "x.nbc").symlink_to("/dev/null")


def spoiled_link_to_a_folder(folder: Path) -> None:
    (folder / "features").symlink_to(folder.parent)


def spoiled_owner(folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(folder, 12345, -1)


def spoiled_owner_above(folder: Path) -> None:
    spoiled_owner(folder.parent)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    "spoil",
    [
        *(spoiled_mode, spoiled_parent, spoiled_file, spoiled_folder_inside, spoiled_file_inside),
        *(spoiled_link, spoiled_link_to_a_folder, spoiled_owner, spoiled_owner_above),
    ],
)
def test_machine_code_is_loaded_from_no_folder_that_others_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None]
):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    stamp = "fedcba9876543210" * 4
    folder = tmp_path / "cache" / f"loops-{stamp[:16]}"
    monkeypatch.setattr(loop_cache, "_IN_TREE", tmp_path / "tree")
    monkeypatch.setattr(loop_cache, "_HERE", tmp_path)
    assert loop_cache.place(stamp) == folder and caplog.text == ""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "cache")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(link))
    assert loop_cache.place(stamp) == link / folder.name, "a link of one's own is no harm"
    spoil(folder)
    assert loop_cache.place(stamp) != link / folder.name
    assert f"NUMBA_CACHE_DIR={link} is not used" in caplog.text
