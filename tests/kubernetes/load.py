"""Runs inside of a pod: a load until standard input ends, then one line of JSON about it.

`load.py reads ADDRESS PATH` calls one RPC again and again, 50 ms after each answer: [calls, failed, what the failures said].
`load.py recommendations ADDRESS PACE` asks for so many recommendations a second: [calls, made, failed, what the failures said,
what the refusals said]. A refusal of the service itself is no failure, one of a full server is. Nothing is repeated.
"""

import itertools
import json
import sys
import threading
import time
import uuid
from collections import Counter

import grpc

PRODUCTS = ("BTC-USD", "ETH-USD", "SOL-USD", "LTC-USD")
LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
# Where nobody ends it.
LONGEST_SECONDS = 900.0
# One of so many sells what is held: it makes room for the entries that follow.
SELL_EVERY = 12


def ended() -> threading.Event:
    """Set once standard input ends."""
    event = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        event.set()

    threading.Thread(target=wait, daemon=True).start()
    return event


def words_of(error: grpc.RpcError) -> str:
    """A status and what it said, cut short."""
    return f"{error.code().name}: {(error.details() or '')[:160]}"


def reads(address: str, path: str) -> list[object]:
    """One call at a time."""
    over, end, calls, lost = ended(), time.monotonic() + LONGEST_SECONDS, 0, Counter[str]()
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(path)
        while not over.is_set() and time.monotonic() < end:
            try:
                ask(b"", timeout=10)
            except grpc.RpcError as error:
                if error.code() in LOST:
                    lost[words_of(error)] += 1
            calls += 1
            time.sleep(0.05)
    return [calls, lost.total(), sorted(lost)[:5]]


class Asked:
    """What became of the calls; each is forgotten once it has ended."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._open = 0
        self.calls, self.made, self.lost, self.refused = 0, 0, Counter[str](), Counter[str]()

    def begun(self, call: "grpc.Future") -> None:
        """A call goes out."""
        with self._lock:
            self.calls += 1
            self._open += 1
        call.add_done_callback(self._done)

    def _done(self, call: "grpc.Future") -> None:
        error = call.exception()
        with self._lock:
            self._open -= 1
            self._lock.notify_all()
            if error is None:
                self.made += 1
            else:
                (self.lost if error.code() in LOST else self.refused)[words_of(error)] += 1

    def wait(self, seconds: float) -> None:
        """Until every call has ended."""
        with self._lock:
            self._lock.wait_for(lambda: self._open == 0, seconds)


def recommendations(address: str, pace: str) -> list[object]:
    """Small entries and some exits, at a fixed pace, however long an answer takes."""
    from trading.bridge.v1 import bridge_service_pb2 as pb
    from trading.bridge.v1 import bridge_service_pb2_grpc as rpc
    from trading.common.v1 import decimal_pb2, trade_pb2

    over, begin, asked = ended(), time.monotonic(), Asked()
    with grpc.insecure_channel(address) as channel:
        stub = rpc.BridgeServiceStub(channel)
        for number in itertools.count():
            due = begin + number / float(pace)
            if over.wait(max(due - time.monotonic(), 0.0)) or due > begin + LONGEST_SECONDS:
                break
            buys = number % SELL_EVERY != SELL_EVERY - 1
            wanted = pb.CreateRecommendationRequest(
                request_id=str(uuid.uuid4()),
                # A sale of each product in its turn.
                product_id=PRODUCTS[(number if buys else number // SELL_EVERY) % len(PRODUCTS)],
                side=trade_pb2.SIDE_BUY if buys else trade_pb2.SIDE_SELL,
                note="load",
            )
            if buys:
                wanted.quote_size.CopyFrom(decimal_pb2.Decimal(value="15.00"))
            asked.begun(stub.CreateRecommendation.future(wanted, timeout=30))
        asked.wait(40)
    return [asked.calls, asked.made, asked.lost.total(), sorted(asked.lost)[:5], asked.refused.most_common(3)]


def main() -> None:
    """What the first argument names."""
    kind, *arguments = sys.argv[1:]
    told = {"reads": reads, "recommendations": recommendations}[kind](*arguments)
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
