"""Runs inside of a pod: one call of each path that it is given, by whoever the pod's sidecar says it is.

Reads JSON lines {"address", "path", "kind"} from standard input; answers with a line each: the status, and its words.
"""

import json
import sys

import grpc


def status(address: str, path: str, kind: str) -> tuple[str, str]:
    """How an empty request ends; OK for a stream that is let in and says nothing."""
    with grpc.insecure_channel(address) as channel:
        call = getattr(channel, kind)(path)
        request = iter(()) if kind.startswith("stream") else b""
        try:
            answer = call(request, timeout=5)
            if kind.endswith("stream"):
                next(iter(answer), None)
            return "OK", ""
        except grpc.RpcError as error:
            return error.code().name, error.details() or ""


def main() -> None:
    """Until the input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(status(asked["address"], asked["path"], asked["kind"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
