"""The image is built and run: small enough, restricted, with the machine code inside, and the page comes up.

Takes a quarter of an hour, so only `make test-image` runs it.
"""

import json
import os
import sys
import time
from collections.abc import Mapping

import pytest
import yaml

from tests.image.builder import IMAGE, ROOT, build, container, fault, inside, logs, run, stored
from tradekit.services import PAGE_PORT

pytestmark = pytest.mark.timeout(5400)
LARGEST_MEGABYTES = 700
UP_SECONDS = 900.0
DATABASE = {"DB_NAME": "trading", "DB_USER": "trading", "DB_PASSWORD": "a word"}
_ASK = "import urllib.request as r; print(r.urlopen('http://localhost:{}{}', timeout=5).read().decode())"


@pytest.fixture(scope="module", autouse=True)
def image() -> None:
    if os.environ.get("IMAGE_TESTS") != "1":
        pytest.skip("make test-image builds the image and runs it")
    if why := fault():
        pytest.skip(why)
    build()


def until(said: str, name: str, seconds: float) -> None:
    """Waits for a line of a container's output."""
    deadline = time.monotonic() + seconds
    while said not in logs(name):
        assert time.monotonic() < deadline, logs(name)[-3000:]
        time.sleep(1)


def until_up(name: str) -> None:
    """Waits for the page of a whole mesh, and until it says that all is well."""
    deadline = time.monotonic() + UP_SECONDS
    while True:
        page = inside(name, "python", "-c", _ASK.format(PAGE_PORT, "/health"))
        status = inside(name, "mesh", "status")
        if page.returncode == 0 and status.returncode == 0:
            return
        assert time.monotonic() < deadline, f"{page.stdout}{page.stderr}{status.stdout}{logs(name)[-3000:]}"
        time.sleep(5)


def variables(values: Mapping[str, str]) -> list[str]:
    """Environment variables as options."""
    return [part for name, value in values.items() for part in ("--env", f"{name}={value}")]


def test_it_is_small_enough_and_says_who_it_runs_as() -> None:
    (found,) = json.loads(run(*stored("podman", "image", "inspect", IMAGE)))
    sys.stdout.write(f"{found['Size'] / 1e6:.0f} MB\n")
    assert found["Size"] < LARGEST_MEGABYTES * 1e6
    assert found["User"] == "10001:10001"
    assert found["Config"]["Entrypoint"][0] == "/usr/local/bin/tini"


def test_nothing_is_in_it_that_does_not_run() -> None:
    with container("mesh", "--help") as name:
        run(*stored("podman", "wait", name))
        assert "mesh" in logs(name)
    with container("exchange_sim", options=("--env", "SIM_STATE_DIR=/var/lib/trading/exchange")) as name:
        listed = inside(name, "ls", "/opt/trading-mesh").stdout.split()
    assert not {"tests", "tools", "requirements", "docs", "istio", "bench", "node_modules"} & set(listed)
    assert {"cluster", "cli", "svc_risk", "gen", "pyproject.toml"} <= set(listed)


def test_a_service_says_what_it_lacks_and_a_stranger_what_there_is() -> None:
    for arguments, code, said in ((["risk"], "2", "TICKET_SIGNING_KEY_FILE"), (["nobody"], "64", "is no process")):
        with container(*arguments) as name:
            assert run(*stored("podman", "wait", name)).strip() == code
            assert said in logs(name)


def test_the_first_process_ends_at_once_when_it_is_asked_to() -> None:
    environment = ("--env", "SIM_STATE_DIR=/var/lib/trading/exchange")
    for wait in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0):
        with container("exchange_sim", options=environment) as name:
            time.sleep(wait)
            began = time.monotonic()
            run(*stored("podman", "stop", "--time", "30", name))
            assert time.monotonic() - began < 10, wait
            assert run(*stored("podman", "wait", name)).strip() in ("0", "143")


def test_the_database_for_trials_comes_up_and_goes_at_once() -> None:
    values = {
        "PGDATA": "/var/lib/trading/postgres/data",
        "DB_NAME": "trading",
        "DB_USER": "trading",
        "DB_PASSWORD": "a word",
    }
    environment = [part for name, value in values.items() for part in ("--env", f"{name}={value}")]
    with container("postgres", options=environment) as name:
        until("ready to accept connections", name, 300)
        program = (
            "import asyncio, asyncpg\n"
            "async def main():\n"
            "    there = dict(host='127.0.0.1', user='trading', database='trading')\n"
            "    connection = await asyncpg.connect(password='a word', **there)\n"
            "    print((await connection.fetchval('show server_version'))[:2], await connection.fetchval('show fsync'))\n"
            "    try:\n"
            "        await asyncpg.connect(password='another', **there)\n"
            "    except asyncpg.InvalidPasswordError:\n"
            "        print('refused')\n"
            "asyncio.run(main())\n"
        )
        found = inside(name, "python", "-c", program)
        assert found.stdout.split() == ["18", "on", "refused"], found.stderr
        migrated = inside(name, "env", "DB_HOST=127.0.0.1", "python", "-P", "-m", "cluster.entry", "migrate")
        assert migrated.returncode == 0, migrated.stderr
        began = time.monotonic()
        run(*stored("podman", "stop", "--time", "60", name))
        assert time.monotonic() - began < 30
        assert "received fast shutdown request" in logs(name)


def test_it_runs_as_the_compose_file_says() -> None:
    """Its command and its variables, beside a PostgreSQL of its own in the same network."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    given = {name: str(value) for name, value in services["mesh"]["environment"].items()}
    # What compose names, a network of one address has not.
    given |= {"DB_HOST": "127.0.0.1", "DB_PASSWORD": "a word", "MARKET_HISTORY_BARS": "2500"}
    database = {**DATABASE, "PGDATA": "/var/lib/trading/postgres/data"}
    with container("postgres", options=variables(database)) as beside:
        until("ready to accept connections", beside, 300)
        options = (*variables(given), "--network", f"container:{beside}")
        with container(*services["mesh"]["command"], options=options) as name:
            until_up(name)
            listening = inside(name, "cat", "/proc/net/tcp").stdout
            # 8031 on every address, so that it can be published.
            assert f"00000000:{PAGE_PORT:04X}" in listening


def test_the_page_comes_up_and_the_machine_code_is_there() -> None:
    with container("mesh", "up", options=variables({"MARKET_HISTORY_BARS": "2500"})) as name:
        until_up(name)
        assert "SIMULATED" in inside(name, "python", "-c", _ASK.format(PAGE_PORT, "/api/state")).stdout
        program = (
            "from modelkit.features.loop_cache import folder\n"
            "print(sum(1 for _ in folder().glob('*/*.nbc')))\n"
            "import time; began = time.monotonic()\n"
            "from modelkit.features.translate import translate; translate()\n"
            "print(time.monotonic() - began)\n"
        )
        found = inside(name, "python", "-P", "-c", program)
        kept, seconds = found.stdout.split()
        assert int(kept) > 0, found.stderr
        sys.stdout.write(f"features: {kept} loops of machine code, loaded in {float(seconds):.1f} s\n")
        began = time.monotonic()
        run(*stored("podman", "stop", "--time", "100", name), seconds=200)
        sys.stdout.write(f"stopped in {time.monotonic() - began:.0f} s\n")
        assert run(*stored("podman", "wait", name)).strip() == "0"
