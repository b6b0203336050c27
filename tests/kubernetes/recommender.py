"""Runs inside of a pod: asks for so many recommendations a second for so many seconds, and says how many calls failed and how.

`python recommender.py ADDRESS PACE SECONDS`; an answer of the service itself, a refusal too, is no failure. Nothing is repeated.
"""

import itertools
import json
import sys
import time
import uuid

import grpc

from trading.bridge.v1 import bridge_service_pb2 as pb
from trading.bridge.v1 import bridge_service_pb2_grpc as rpc
from trading.common.v1 import trade_pb2

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


def main() -> None:
    """One line of JSON: calls, how many made a recommendation, failed, and what the failures said."""
    address, pace, seconds = sys.argv[1:]
    begin, calls = time.monotonic(), []
    with grpc.insecure_channel(address) as channel:
        stub = rpc.BridgeServiceStub(channel)
        for number, product in enumerate(itertools.cycle(PRODUCTS)):
            due = begin + number / float(pace)
            if due > begin + float(seconds):
                break
            time.sleep(max(due - time.monotonic(), 0.0))
            wanted = pb.CreateRecommendationRequest(
                request_id=str(uuid.uuid4()), product_id=product, side=trade_pb2.SIDE_BUY, note="load"
            )
            calls.append(stub.CreateRecommendation.future(wanted, timeout=30))
        errors = [call.exception() for call in calls]
    lost = [f"{error.code().name}: {error.details()}" for error in errors if error is not None and error.code() in LOST]
    made = sum(error is None for error in errors)
    sys.stdout.write(json.dumps([len(calls), made, len(lost), sorted(set(lost))[:5]]) + "\n")


if __name__ == "__main__":
    main()
