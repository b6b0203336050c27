"""One RPC, by whoever this pod is: `python -m cluster.call executor GetTradingState '{}'`.

What the operator of a cluster halts, resumes and looks at it with, from a pod whose sidecar proves that it is the operator. Each
answer is a line of JSON; a stream is printed until it ends.
"""

import importlib
import os
import sys
from collections.abc import Iterator

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from meshkit.policy import policy_of
from tradekit.services import SERVICES, ServiceName


class NotKnown(Exception):
    """There is no such service, method or request; the text says what there is."""


def method_of(service: ServiceName, name: str) -> MethodDescriptor:
    """A method by its name. NotKnown."""
    importlib.import_module(service.contract_module)
    found = descriptor_pool.Default().FindServiceByName(service.full_name)
    if name not in found.methods_by_name:
        raise NotKnown(f"{service.full_name} has {', '.join(sorted(found.methods_by_name))}, and no {name}")
    method: MethodDescriptor = found.methods_by_name[name]
    if method.client_streaming:
        raise NotKnown(f"{name} takes a stream of requests")
    return method


def service_of(name: str) -> ServiceName:
    """A service by its name. NotKnown."""
    for service in SERVICES:
        if service.name == name:
            return service
    raise NotKnown(f"the services are {', '.join(one.name for one in SERVICES)}; {name!r} is none")


def answers(channel: grpc.Channel, method: MethodDescriptor, request: str) -> Iterator[Message]:
    """What comes back. NotKnown for a request that is none of the method; grpc.RpcError."""
    asked, answered = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    try:
        body = json_format.Parse(request, asked())
    except json_format.ParseError as error:
        raise NotKnown(f"this is no {method.input_type.full_name}: {error}") from None
    path = f"/{method.containing_service.full_name}/{method.name}"
    deadline = policy_of(method).deadline_seconds
    if method.server_streaming:
        yield from channel.unary_stream(path, asked.SerializeToString, answered.FromString)(body, timeout=deadline)
    else:
        yield channel.unary_unary(path, asked.SerializeToString, answered.FromString)(body, timeout=deadline)


def main() -> None:
    """Exit code 0: answered; 1: refused, with the status; 64: there is no such call."""
    arguments = sys.argv[1:]
    try:
        if not 2 <= len(arguments) <= 3:
            raise NotKnown("call needs a service, a method and the request as JSON")
        service = service_of(arguments[0])
        method = method_of(service, arguments[1])
        address = os.environ.get(service.address_variable) or f"{service.name}:{service.port}"
        with grpc.insecure_channel(address) as channel:
            for answer in answers(channel, method, arguments[2] if len(arguments) == 3 else "{}"):
                sys.stdout.write(json_format.MessageToJson(answer, indent=None) + "\n")
                sys.stdout.flush()
    except NotKnown as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(64) from None
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
