"""Compiled contracts with a fault planted in them, in a pool of their own beside the real ones."""

from collections.abc import Callable

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodDescriptorProto

from tools.mesh_policy.table import contracts
from tradekit.services import ServiceName
from trading.options.v1 import policy_pb2

Change = Callable[[MethodDescriptorProto], None]


def spoiled(service: ServiceName, changes: dict[str, Change]) -> ServiceDescriptor:
    """The contract of a service after `changes` to methods by their names."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for needed in file.dependencies:
            add(needed)
        proto = FileDescriptorProto()
        file.CopyToProto(proto)
        if file.name == real.file.name:
            (found,) = proto.service
            methods = {method.name: method for method in found.method}
            for name, change in changes.items():
                change(methods[name])
        pool.AddSerializedFile(proto.SerializeToString())

    real = contracts()[service]
    add(real.file)
    return pool.FindServiceByName(service.full_name)


def policy_in(method: MethodDescriptorProto) -> policy_pb2.MethodPolicy:
    """The policy of a method, to be changed."""
    return method.options.Extensions[policy_pb2.policy]
