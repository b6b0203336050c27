"""Adds the servicer to a server so that a frame of signals that is bytes already leaves as it is.

The generated function serialises every response; a frame of a thousand signals would be parsed only for that, and then
be serialised again for each watcher.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from trading.signal.v1 import signal_service_pb2 as pb
from trading.signal.v1 import signal_service_pb2_grpc as pb_grpc

_METHOD = "WatchSignals"


def add_to_server(servicer: pb_grpc.SignalServiceServicer, server: Any) -> None:
    """As `add_SignalServiceServicer_to_server`."""
    pb_grpc.add_SignalServiceServicer_to_server(servicer, _Ready(server))  # type: ignore[arg-type]


class _Ready:
    """Stands before a server while the generated function adds its handlers to it."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """They come once more, one by one, as registered ones."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        ready = {**handlers, _METHOD: handlers[_METHOD]._replace(response_serializer=_content)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, ready),))
        self._server.add_registered_method_handlers(service, ready)


def _content(response: pb.WatchSignalsResponse | bytes) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()
