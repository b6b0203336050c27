"""What a hostile stranger sends: every field of a good request spoiled in every way its kind allows, one at a time.

Faults are found by walking the request's descriptor, so a new field is swept without a new line here. `Fault.well_formed`
marks values that keep the field's form and are wrong only against what is stored.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

LONG = 10_000
UUIDS = frozenset({"request_id", "recommendation_id", "signal_id", "order_id", "alert_id"})
PRODUCTS = frozenset({"product_id", "product_ids", "only_product_ids"})
UNKNOWN_PRODUCT = "ZZZ-USD"
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    """One spoiled field: where, how, and the value that is put there."""

    path: Path
    label: str
    value: Any
    well_formed: bool = False

    @property
    def field(self) -> str:
        """The path as violations name it."""
        return dotted(self.path)

    @property
    def name(self) -> str:
        return f"{self.field}: {self.label}"

    def planted(self, message: Any) -> Any:
        """A copy of the message with the fault in it."""
        spoiled = type(message)()
        spoiled.CopyFrom(message)
        _put(spoiled, self.path, self.value)
        return spoiled


def dotted(path: Path) -> str:
    """`a.b[0].c`"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


_TEXT = [("10 kB", "x" * LONG), ("NUL", "a\x00b"), ("escape", "\x1b[31mred")]
_DECIMALS = [
    *((text, text) for text in ("NaN", "Infinity", "-Infinity", "1e5", "-0", "+1", " 1", "0x10", "1,5", "१")),
    ("empty", ""),
    ("10 kB", "9" * LONG),
    ("huge", "99999999999999999999"),
    ("too fine", "0." + "1" * 40),
]
_DOUBLES = [
    ("NaN", float("nan")),
    ("inf", float("inf")),
    ("-inf", float("-inf")),
    ("huge", 1e308),
    ("negative", -1e308),
]
_TIMES = [
    ("year 1", (-62_135_596_800, 0)),
    ("year 9999", (253_402_300_799, 0)),
    ("beyond the calendar", (2**62, 0)),
    ("before the calendar", (-(2**62), 0)),
    ("negative nanos", (1_740_787_200, -5)),
    ("too many nanos", (1_740_787_200, 2_000_000_000)),
]
_ENUMS = [("unknown number", 99), ("negative number", -1)]
_TOKENS = [
    *_TEXT,
    ("garbage", "garbage"),
    ("base64 of nothing", base64.urlsafe_b64encode(b"nothing").decode()),
    ("another form", base64.urlsafe_b64encode(b'{"p":[],"s":1}').decode().rstrip("=")),
    ("another query", base64.urlsafe_b64encode(b'{"p":{"id":"x"},"s":"0123456789ab"}').decode().rstrip("=")),
]
_WHOLE = {
    "page_size": [("negative", -1), ("most negative", -(2**31))],
    "max_in_flight": [("zero", 0), ("huge", 2**32 - 1)],
    "expected_count": [],  # any count may be asked for; one that is not so is refused as an outdated preview
    "sequence": [],  # of a candle: set by the service, ignored where it is sent
    "after_sequence": [("of another database", 10**12), ("past int64", 2**63), ("largest", 2**64 - 1)],
}


def faults(message: Any, prefix: Path = ()) -> Iterator[Fault]:
    """Every fault of every field that the good message has or could have."""
    for field in message.DESCRIPTOR.fields:
        path = (*prefix, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            raise NotImplementedError(f"{field.full_name}: maps in requests have no faults yet")
        if field.is_repeated:
            yield from _of_repeated(message, field, path)
        elif field.message_type is None or _is_value(field):
            yield from (Fault(path, *found) for found in _of_value(field))
        elif message.HasField(field.name):
            yield from faults(getattr(message, field.name), path)


def _is_value(field: FieldDescriptor) -> bool:
    return field.message_type.full_name in ("trading.common.v1.Decimal", "google.protobuf.Timestamp")


def _of_repeated(message: Any, field: FieldDescriptor, path: Path) -> Iterator[Fault]:
    if field.name in PRODUCTS:
        yield from (Fault((*path, 0), *found) for found in _of_value(field))
        yield Fault(path, "too many", [f"A{number}-USD" for number in range(1_500)])
        return
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        yield from (Fault((*path, 0), *found) for found in _DOUBLES)
        yield Fault(path, "too many", [0.0] * 1_500)
        return
    for index, entry in enumerate(getattr(message, field.name)):
        yield from faults(entry, (*path, index))


def _of_value(field: FieldDescriptor) -> list[tuple[Any, ...]]:
    """(label, value[, well_formed]) of a single value."""
    if field.message_type is not None:
        return list(_DECIMALS if field.message_type.name == "Decimal" else _TIMES)
    if field.enum_type is not None:
        return list(_ENUMS)
    if field.name in UUIDS:
        short = [("no uuid", "not-a-uuid"), ("braces", "{01951234-89ab-7def-8123-456789abcdef}")]
        return [*short, *_TEXT]
    if field.name in PRODUCTS:
        return [("lower case", "btc-usd"), ("path", "../BTC-USD"), *_TEXT, ("unknown", UNKNOWN_PRODUCT, True)]
    if field.name == "page_token":
        return list(_TOKENS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return list(_TEXT)
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return list(_DOUBLES)
    if field.type in (FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_BYTES):
        return []  # every value of these is a good one; what bytes mean is checked by the file formats
    return list(_WHOLE[field.name])


def _put(message: Any, path: Path, value: Any) -> None:
    """Sets the value at the path, whatever kind it is of."""
    *way, last = path
    for step in way[:-1] if isinstance(last, int) else way:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    if isinstance(last, int):
        entries = getattr(message, str(way[-1]))
        del entries[:]
        entries.append(value)
    elif isinstance(value, list):
        entries = getattr(message, str(last))
        del entries[:]
        entries.extend(value)
    elif isinstance(value, tuple):
        time = getattr(message, str(last))
        time.SetInParent()
        time.seconds, time.nanos = value
    elif message.DESCRIPTOR.fields_by_name[last].message_type is not None:
        getattr(message, str(last)).value = value
        getattr(message, str(last)).SetInParent()
    else:
        setattr(message, str(last), value)


def siblings(message: Any, path: Path) -> set[str]:
    """The names under which a violation of this field may go: its own, and those of the choice it belongs to."""
    found = {dotted(path)}
    descriptor = message.DESCRIPTOR
    for step in path:
        if isinstance(step, int):
            continue
        field = descriptor.fields_by_name[step]
        choice, descriptor = field.containing_oneof, field.message_type
    if choice is not None:
        stem = path[:-1]
        found |= {dotted((*stem, one.name)) for one in choice.fields} | {dotted((*stem, choice.name))}
    return found


def forged_tokens(token: str) -> Iterator[tuple[str, str]]:
    """Tokens with the right seal and a position that was never given: the seal is no secret."""
    body = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    good = body["p"]
    positions: dict[str, Any] = {"nothing": {}, "another key": {"x": 1}}
    for key in good:
        positions[f"no {key}"] = {name: value for name, value in good.items() if name != key}
        for label, value in (
            ("nonsense", "nonsense"),
            ("NUL", "\x00"),
            ("negative", -1),
            ("huge", 10**30),
            ("a naive time", "2025-01-01T00:00:00"),
            ("a far time", "9999-12-31T23:59:59+00:00"),
        ):
            positions[f"{key} {label}"] = {**good, key: value}
    for label, position in positions.items():
        text = json.dumps({"p": position, "s": body["s"]}, sort_keys=True, separators=(",", ":"))
        yield label, base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
