"""The saved state of the live features: header, plain arrays, checksum. What does not fit exactly is refused.

No pickle: the bytes may come from a disk that somebody else can write. Array names, types and shapes are those of a
fresh state of the same products, so a header can only agree or be refused.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from modelkit.features.engine_windows import StateArrays

_MAGIC = b"FS51LIVE"
_VERSION = 2
_LEAD = struct.Struct("<8sII")
_DIGEST = hashlib.sha256().digest_size


class StateFault(StrEnum):
    """Why a saved state was refused."""

    NOT_A_STATE = "NOT_A_STATE"
    VERSION = "VERSION"
    CHECKSUM = "CHECKSUM"
    HEADER = "HEADER"
    FEATURE_SET = "FEATURE_SET"
    GRANULARITY = "GRANULARITY"
    FACTOR = "FACTOR"
    PRODUCTS = "PRODUCTS"
    SIZE = "SIZE"
    VALUES = "VALUES"


class StateRefused(Exception):
    """The saved state cannot be used; the features are rebuilt from stored candles."""

    def __init__(self, reason: StateFault, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def pack(header: Mapping[str, object], arrays: StateArrays) -> bytes:
    text = json.dumps(header, sort_keys=True).encode()
    parts = [_LEAD.pack(_MAGIC, _VERSION, len(text)), text]
    parts += [np.ascontiguousarray(array).tobytes() for _, array in arrays]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join((*parts, digest.digest()))


def unpack(content: bytes) -> tuple[dict[str, Any], memoryview]:
    """(header, the bytes of the arrays) of a state that is whole."""
    if len(content) < _LEAD.size + _DIGEST or not content.startswith(_MAGIC):
        raise StateRefused(StateFault.NOT_A_STATE, f"{len(content)} bytes without the mark of a saved state")
    _, version, length = _LEAD.unpack_from(content)
    if version != _VERSION:
        raise StateRefused(StateFault.VERSION, f"version {version}, this is {_VERSION}")
    view = memoryview(content)
    if hashlib.sha256(view[:-_DIGEST]).digest() != content[-_DIGEST:]:
        raise StateRefused(StateFault.CHECKSUM, "the content does not match its checksum")
    body = view[_LEAD.size : -_DIGEST]
    if length > len(body):
        raise StateRefused(StateFault.HEADER, "the header is longer than the state")
    try:
        header = json.loads(bytes(body[:length]))
    except (ValueError, RecursionError) as fault:
        raise StateRefused(StateFault.HEADER, "the header is not JSON") from fault
    if not isinstance(header, dict):
        raise StateRefused(StateFault.HEADER, "the header is not an object")
    return header, body[length:]


def expect(header: Mapping[str, object], expected: Mapping[str, tuple[StateFault, object]]) -> None:
    """Refuses a header whose values are not the expected ones."""
    for name, (reason, value) in expected.items():
        if header.get(name) != value:
            raise StateRefused(reason, f"{name} is not that of this service")


def whole_number(header: Mapping[str, object], name: str, least: int) -> int:
    value = header.get(name)
    if type(value) is not int or not least <= value < 2**52:
        raise StateRefused(StateFault.HEADER, f"{name} is not a usable whole number")
    return value


def fill_arrays(arrays: Iterator[tuple[str, np.ndarray[Any, Any]]], body: memoryview) -> None:
    """Writes the saved bytes into the arrays of a fresh state, in their order."""
    held = list(arrays)
    size = sum(array.nbytes for _, array in held)
    if size != len(body):
        raise StateRefused(StateFault.SIZE, f"{len(body)} bytes of arrays instead of {size}")
    at = 0
    for name, array in held:
        part = body[at : at + array.nbytes]
        at += array.nbytes
        if array.dtype == np.bool_:
            flags = np.frombuffer(part, dtype=np.uint8)
            if flags.max(initial=0) > 1:
                raise StateRefused(StateFault.VALUES, f"{name} holds something else than true and false")
        array[...] = np.frombuffer(part, dtype=array.dtype).reshape(array.shape)
