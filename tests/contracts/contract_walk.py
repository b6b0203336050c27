"""Every message, enum, service and method of the contracts, found by walking the generated descriptors."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, MethodDescriptor

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"


def files() -> list[FileDescriptor]:
    """The descriptor of every .proto file of the project."""
    found = []
    for path in sorted(PROTO.rglob("*.proto")):
        module = path.relative_to(PROTO).with_suffix("").as_posix().replace("/", ".") + "_pb2"
        found.append(importlib.import_module(module).DESCRIPTOR)
    return found


def methods() -> list[MethodDescriptor]:
    return [method for file in files() for service in file.services_by_name.values() for method in service.methods]


def messages() -> Iterator[Descriptor]:
    """Every message, nested ones included, map entries left out."""
    waiting = [message for file in files() for message in file.message_types_by_name.values()]
    while waiting:
        message = waiting.pop()
        if not message.GetOptions().map_entry:
            yield message
        waiting += message.nested_types


def enums() -> list[EnumDescriptor]:
    found = [enum for file in files() for enum in file.enum_types_by_name.values()]
    return found + [enum for message in messages() for enum in message.enum_types]
