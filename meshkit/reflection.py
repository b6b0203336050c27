"""Server reflection under both of its names: `v1`, which newer tools ask for, and `v1alpha`, the only one in the package.

The two differ in their name alone; the messages are the same on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"
_FILE = "grpc/reflection/v1/reflection.proto"
SERVICE_NAMES = (f"{_NEW}.ServerReflection", reflection.SERVICE_NAME)


def enable(server: Any, names: Iterable[str]) -> None:
    """Adds reflection of the named services, and of itself, to a server that is not started yet."""
    _describe_v1()
    servicer = reflection.aio.ReflectionServicer([*names, *SERVICE_NAMES])
    info = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    handlers = [grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": info}) for name in SERVICE_NAMES]
    server.add_generic_rpc_handlers(tuple(handlers))


def _describe_v1() -> None:
    """Puts the contract of `v1` into the pool, so that it can be described like every other."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(_FILE)
        return
    except KeyError:
        pass
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _FILE, _NEW
    for field in (field for message in file.message_type for field in message.field if field.type_name):
        field.type_name = field.type_name.replace(f".{_OLD}.", f".{_NEW}.")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(f".{_OLD}.", f".{_NEW}.")
        method.output_type = method.output_type.replace(f".{_OLD}.", f".{_NEW}.")
    pool.AddSerializedFile(file.SerializeToString())
