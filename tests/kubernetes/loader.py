"""Runs inside of a pod: calls one RPC about twenty times a second for so many seconds, and says how many calls failed and how.

`python loader.py ADDRESS PATH SECONDS`; an answer of the service itself, a refusal too, is no failure.
"""

import json
import sys
import time

import grpc

LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
)


def main() -> None:
    """One line of JSON: calls, failed, and what the failures said."""
    address, path, seconds = sys.argv[1:]
    end, calls, lost = time.monotonic() + float(seconds), 0, []
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(path)
        while time.monotonic() < end:
            try:
                ask(b"", timeout=10)
            except grpc.RpcError as error:
                if error.code() in LOST:
                    lost.append(f"{error.code().name}: {error.details()}")
            calls += 1
            time.sleep(0.05)
    sys.stdout.write(json.dumps([calls, len(lost), sorted(set(lost))[:5]]) + "\n")


if __name__ == "__main__":
    main()
