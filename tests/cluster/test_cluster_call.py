"""An operator's calls from inside of a cluster: answers as lines of JSON, refusals as words."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from supervisor.python_process import python_environment
from trading.monitor.v1 import monitor_service_pb2 as pb
from trading.monitor.v1 import monitor_service_pb2_grpc as pb_grpc


class Monitor(pb_grpc.MonitorServiceServicer):
    """Answers what it is asked, and refuses one thing."""

    def ListAlerts(self, request: Any, context: Any) -> Any:
        if request.page_size < 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "page_size must be 0 or more")
        return pb.ListAlertsResponse(next_page_token=f"size {request.page_size}")

    def WatchStatus(self, request: Any, context: Any) -> Iterator[Any]:
        yield pb.WatchStatusResponse()
        yield pb.WatchStatusResponse()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    pb_grpc.add_MonitorServiceServicer_to_server(Monitor(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def call(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "cluster.entry", "call", *arguments]
    env = python_environment({"PATH": "/usr/bin:/bin", "MONITOR_ADDRESS": address})
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_an_answer_and_a_stream_are_lines_of_json(address: str) -> None:
    found = call(address, "monitor", "ListAlerts", '{"page_size": 7}')
    assert (found.returncode, found.stdout) == (0, '{"nextPageToken": "size 7"}\n')
    assert call(address, "monitor", "WatchStatus").stdout == "{}\n{}\n"


def test_a_refusal_is_told_with_its_status(address: str) -> None:
    found = call(address, "monitor", "ListAlerts", '{"page_size": -1}')
    assert found.returncode == 1
    assert found.stderr == "INVALID_ARGUMENT: page_size must be 0 or more\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "call needs a service"),
        (("nobody", "ListAlerts"), "'nobody' is none"),
        (("monitor", "Trade"), "and no Trade"),
        (("monitor", "ListAlerts", '{"pages": 1}'), "this is no trading.monitor.v1.ListAlertsRequest"),
        (("risk", "StreamAssessments"), "a stream of requests"),
    ],
)
def test_what_there_is_not_is_told(address: str, arguments: tuple[str, ...], said: str) -> None:
    found = call(address, *arguments)
    assert found.returncode == 64
    assert said in found.stderr
