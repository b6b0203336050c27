"""Collects every broken field rule of a message, so that a caller learns all of them at once.

Used by each service's `wire.py`: every helper gives back a typed value, or a harmless stand-in after noting the
violation; `done()` raises before a stand-in can be used. Parse first, call `done()`, then build the domain type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TypeVar, overload
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from meshkit import paging
from meshkit.errors import InvalidRequest, Violation, shown

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)
# Controls (C0 and C1, line ends among them), what turns the direction of text, and separators of lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class Page:
    """How many rows to show and after which position; no position is the first page."""

    size: int
    position: dict[str, str | int] | None


class Fields:
    """Collector of violations; `inside` gives a view for a nested message that shares the collection."""

    def __init__(self, prefix: str = "", violations: list[Violation] | None = None) -> None:
        self._prefix = prefix
        self._violations: list[Violation] = [] if violations is None else violations

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(self._violations)

    def inside(self, field: str) -> Fields:
        """Collector for the fields of a nested message: `f.inside("recommendation").text("product_id", …)`."""
        return Fields(self._path(field) + ".", self._violations)

    def done(self) -> None:
        """Raises InvalidRequest with all violations, if there are any."""
        if self._violations:
            raise InvalidRequest(self._violations)

    def violation(self, field: str, rule: str, description: str) -> None:
        """Notes one broken rule."""
        self._violations.append(Violation(self._path(field), rule, description))

    def check(self, field: str, ok: bool, rule: str, description: str) -> bool:
        """Notes a violation unless `ok`; gives `ok` back."""
        if not ok:
            self.violation(field, rule, description)
        return ok

    def parse(self, field: str, value: Any, parser: Callable[[Any], T], stand_in: T, rule: str = "INVALID") -> T:
        """What `parser` makes of the value; its ValueError becomes the violation."""
        try:
            return parser(value)
        except ValueError as error:
            self.violation(field, rule, f"{shown(value)}: {error}")
            return stand_in

    @overload
    def uuid(self, field: str, value: str, *, required: Literal[True] = True) -> UUID: ...
    @overload
    def uuid(self, field: str, value: str, *, required: bool) -> UUID | None: ...
    def uuid(self, field: str, value: str, *, required: bool = True) -> UUID | None:
        """A UUID in its 36-character form; other spellings would make two keys of one id."""
        if not value and not required:
            return None
        if not value:
            self.violation(field, "REQUIRED", "must be set to a UUID")
        elif not _UUID.fullmatch(value):
            self.violation(field, "UUID", f"{shown(value)} is no UUID like 01234567-89ab-cdef-0123-456789abcdef")
        else:
            return UUID(value)
        return UUID(int=0)

    def text(self, field: str, value: str, *, min_length: int = 1, max_length: int, pattern: str | None = None) -> str:
        """Text of bounded length without control characters; `pattern` must match all of it."""
        if not value and min_length > 0:
            self.violation(field, "REQUIRED", f"must be set, {min_length} to {max_length} characters")
        elif not value:
            return value
        elif not min_length <= len(value) <= max_length:
            self.violation(field, "LENGTH", f"has {len(value)} characters, allowed {min_length} to {max_length}")
        elif _SURROGATE.search(value):
            self.violation(
                field, "NOT_UNICODE", f"{shown(value)!a} holds half of a surrogate pair, which is no character"
            )
        elif _CONTROL.search(value):
            self.violation(field, "CONTROL_CHARACTER", f"{shown(value)} holds a control character or line end")
        elif pattern is not None and not re.fullmatch(pattern, value):
            self.violation(field, "PATTERN", f"{shown(value)} does not match {pattern}")
        else:
            return value
        return ""

    @overload
    def timestamp(
        self,
        field: str,
        value: Timestamp | None,
        *,
        required: Literal[True] = True,
        earliest: datetime,
        latest: datetime,
    ) -> datetime: ...
    @overload
    def timestamp(
        self, field: str, value: Timestamp | None, *, required: bool, earliest: datetime, latest: datetime
    ) -> datetime | None: ...
    def timestamp(
        self, field: str, value: Timestamp | None, *, required: bool = True, earliest: datetime, latest: datetime
    ) -> datetime | None:
        """Aware UTC time from `earliest` to `latest`, cut to microseconds; None is an absent field.

        A field that is set to the epoch is not absent: it is a time like any other.
        """
        stand_in = earliest if required else None
        if value is None:
            if required:
                self.violation(field, "REQUIRED", "is missing; send a timestamp")
            return stand_in
        try:
            moment = value.ToDatetime(UTC)
        except (ValueError, OverflowError):
            span = f"{earliest.year} and {latest.year}"
            self.violation(field, "TIMESTAMP", f"is outside of the calendar; send a time between {span}")
            return stand_in
        if not earliest <= moment <= latest:
            span = f"{earliest:%Y-%m-%d} and {latest:%Y-%m-%d}"
            self.violation(field, "OUT_OF_RANGE", f"is {moment}; must lie between {span}")
            return stand_in
        return moment

    def finite(self, field: str, value: float, low: float, high: float) -> float:
        """A float that is neither NaN nor infinite and lies within low and high."""
        if not math.isfinite(value):
            self.violation(field, "NOT_FINITE", f"{value} is not a finite number")
        elif not low <= value <= high:
            self.violation(field, "OUT_OF_RANGE", f"{value:g} is outside {low:g} to {high:g}")
        else:
            return value
        return low

    def integer(self, field: str, value: int, low: int, high: int) -> int:
        """A whole number within low and high."""
        if not low <= value <= high:
            self.violation(field, "OUT_OF_RANGE", f"{value} is outside {low} to {high}")
            return low
        return value

    def enum(self, field: str, number: int, descriptor: Any, prefix: str, kind: Iterable[E]) -> E:
        """The member of `kind` (all of an enum, or some) that the contract's enum calls PREFIX_VALUE; unspecified is none."""
        allowed = {f"{prefix}_{member.value}": member for member in kind}
        name = descriptor.DESCRIPTOR.values_by_number.get(number)
        if name is not None and name.name in allowed:
            return allowed[name.name]
        self.violation(field, "ENUM", f"is {number}; must be one of {', '.join(allowed)}")
        return next(iter(allowed.values()))

    def repeated(self, field: str, values: Sequence[T], *, low: int = 0, high: int) -> Sequence[T]:
        """A list of bounded length; an empty one stands in for one that is not."""
        if not low <= len(values) <= high:
            self.violation(field, "COUNT", f"has {len(values)} entries, allowed {low} to {high}")
            return []
        return values

    def page(self, page_size: int, token: str, default: int, maximum: int, scope: str = "") -> Page:
        """Page size (0 takes the default, more than the maximum is cut to it) and the token's position."""
        if page_size < 0:
            self.violation("page_size", "OUT_OF_RANGE", f"{page_size} is negative; 0 takes the default")
        position = None
        if token:
            try:
                position = paging.decode(token, scope)
            except paging.BadToken as error:
                self.violation("page_token", "INVALID_POSITION", f"{shown(token)}: {error}; begin without one")
        return Page(min(page_size, maximum) if page_size > 0 else default, position)

    def _path(self, field: str) -> str:
        return f"{self._prefix}{field}"
