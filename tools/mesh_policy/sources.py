"""What the compiled contracts do not carry and their .proto files do: the line of a method, and the comments.

The reading is by lines, as `buf format` leaves them.
"""

import re
from functools import cache
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
_ERRORS = PROTO / "trading" / "common" / "v1" / "error.proto"
_REASON = re.compile(r"\s*ERROR_REASON_(\w+) = \d+;")
_MEANING = re.compile(r"([A-Z_]+): (.+)")


@cache
def _lines(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text().splitlines()) if path.is_file() else ()


def _line_of(method: MethodDescriptor) -> int | None:
    """Index of the line on which the method begins, None where there is no such file or line."""
    inside = False
    for index, line in enumerate(_lines(PROTO / method.containing_service.file.name)):
        inside = inside or re.match(rf"service {method.containing_service.name}\b", line) is not None
        if inside and re.match(rf"\s*rpc {method.name}\(", line):
            return index
    return None


def _comment_above(lines: tuple[str, ...], index: int) -> str:
    """The comment that ends above a line, in one line."""
    first = index
    while first and lines[first - 1].lstrip().startswith("//"):
        first -= 1
    return " ".join(line.strip().removeprefix("//").strip() for line in lines[first:index])


def place_of(method: MethodDescriptor) -> str:
    """File and line of a method, or the file alone where it is not in proto/."""
    name = str(method.containing_service.file.name)
    line = _line_of(method)
    return name if line is None else f"proto/{name}:{line + 1}"


def comment_of(method: MethodDescriptor) -> str:
    """What its contract says of a method; empty where it is not in proto/."""
    line = _line_of(method)
    return "" if line is None else _comment_above(_lines(PROTO / method.containing_service.file.name), line)


def error_reasons() -> dict[str, tuple[str, str]]:
    """Each reason of an error with its status code and its meaning, from the comments of the enum ErrorReason."""
    lines, found = _lines(_ERRORS), {}
    for index, line in enumerate(lines):
        reason = _REASON.match(line)
        meaning = _MEANING.fullmatch(_comment_above(lines, index)) if reason else None
        if reason and meaning:
            found[reason[1]] = (meaning[1], meaning[2])
    return found
