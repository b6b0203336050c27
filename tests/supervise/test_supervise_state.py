"""The published state while it is being replaced: its name never vanishes, and no half of a state is ever under it."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.processes import ProcessIdentity
from supervisor.state import MeshState, ServiceState, read_state, write_state

STATE = MeshState("run", ProcessIdentity(1, 1.0), "now", {}, (ServiceState("postgres"),))


def numbered(number: int) -> MeshState:
    return replace(STATE, services=(replace(STATE.services[0], detail=f"{number} " * 900),))


def test_a_reader_always_finds_a_whole_state(tmp_path: Path) -> None:
    path, ended = tmp_path / "state.json", threading.Event()
    write_state(path, numbered(0))
    known = {numbered(number).services[0].detail for number in range(10)}

    def write() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            write_state(path, numbered(number % 10))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3000):
            assert path.exists()
            found = read_state(path)
            assert found is not None
            assert found.services[0].detail in known
    finally:
        ended.set()
        writer.join()
    assert sorted(one.name for one in tmp_path.iterdir()) == [".state.json.spare", "state.json"]


def test_a_torn_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_state(path, STATE)
    whole, reads = path.read_text(), []

    def torn(self: Path, **_: object) -> str:
        reads.append(self)
        return whole[:100] if len(reads) == 1 else whole

    monkeypatch.setattr(Path, "read_text", torn)
    assert read_state(path) == STATE


def test_a_part_that_the_disk_took_is_not_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, took = tmp_path / "state.json", os.pwrite
    write_state(path, STATE)
    monkeypatch.setattr(os, "pwrite", lambda descriptor, content, at: took(descriptor, content[:1000], at))
    write_state(path, numbered(1))
    assert read_state(path) == numbered(1)

    def full(descriptor: int, content: bytes, at: int) -> int:
        if at:
            raise OSError(28, "No space left on device")
        return took(descriptor, content[:1000], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        write_state(path, numbered(2))
    assert read_state(path) == numbered(1)


@pytest.mark.parametrize("left", [("spare", "aside"), ("aside",), ("spare",), ()])
def test_what_a_killed_writer_left_is_used_or_removed(tmp_path: Path, left: tuple[str, ...]) -> None:
    """Both names after the second name was made, one of them after the file was replaced, none after the first state."""
    path = tmp_path / "state.json"
    write_state(path, STATE)
    for name in left:
        (tmp_path / f".state.json.{name}").write_text("{}")
    if left == ("spare", "aside"):
        (tmp_path / ".state.json.aside").unlink()
        os.link(path, tmp_path / ".state.json.aside")
    for number in (1, 2):
        write_state(path, numbered(number))
        assert read_state(path) == numbered(number)
        spare = tmp_path / ".state.json.spare"
        assert not spare.samefile(path)
        assert not (tmp_path / ".state.json.aside").exists()


def test_a_file_system_without_second_names_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "state.json"
    for number in (1, 2, 3):
        write_state(path, numbered(number))
        assert read_state(path) == numbered(number)
