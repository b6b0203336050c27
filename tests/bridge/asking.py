"""What an operator asks the bridge for."""

from typing import Any

from tradekit import ids
from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.common.v1 import decimal_pb2

# Where nobody answers.
NOWHERE = "127.0.0.1:1"
BUY, SELL = 1, 2


def recommendation(side: int = SELL, product: str = "ETH-USD", **given: Any) -> pb.CreateRecommendationRequest:
    for name in ("quote_size", "base_size"):
        if name in given:
            given[name] = decimal_pb2.Decimal(value=given[name])
    given.setdefault("request_id", str(ids.new_request_id()))
    return pb.CreateRecommendationRequest(product_id=product, side=side, **given)  # type: ignore[arg-type]
