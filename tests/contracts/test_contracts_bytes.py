"""Bytes that a past release stored are read by today's code, and mean what they meant then."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from tests.contracts.contract_walk import files, messages

FOLDER = Path(__file__).parent / "bytes"
STORED = sorted(FOLDER.glob("*.binpb"))


def message_class(path: Path) -> type[Message]:
    files()
    found = descriptor_pool.Default().FindMessageTypeByName(f"trading.{path.stem}")
    return message_factory.GetMessageClass(found)


def unknown_fields(message: Message) -> list[str]:
    """Names of the messages inside that carry a number which today's contract does not know."""
    found = [message.DESCRIPTOR.full_name] if len(UnknownFieldSet(message)) else []
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else [value]:
            found += unknown_fields(inner)
    return found


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_bytes_mean_what_they_meant(path: Path) -> None:
    kind = message_class(path)
    read = kind.FromString(path.read_bytes())
    assert unknown_fields(read) == []
    meant = text_format.Parse(path.with_suffix(".txtpb").read_text(), kind())
    assert read == meant
    assert read.SerializeToString(deterministic=True) == path.read_bytes()


def test_every_stage_has_stored_bytes_and_no_text_is_without_them() -> None:
    assert {path.stem for path in STORED} == {path.stem for path in FOLDER.glob("*.txtpb")}
    packages = {".".join(message.full_name.split(".")[1:3]) for message in messages()} - {"options.v1"}
    assert {path.stem.rpartition(".")[0] for path in STORED} == packages


def test_a_renumbered_field_would_be_seen() -> None:
    path = FOLDER / "common.v1.Recommendation.binpb"
    read = message_class(path).FromString(path.read_bytes() + b"\xf8\x07\x01")  # field 127, varint 1
    assert unknown_fields(read) == ["trading.common.v1.Recommendation"]
