"""Names for the types of grpc.aio that are generic in its stubs and plain at run time."""

from typing import Any, TypeAlias

import grpc

# The handler's view of a call. Generated servicers name both messages; a handler that reads neither from it need not.
ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
