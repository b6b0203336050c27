"""`mesh sim`: an exchange for whatever trades on Coinbase, with a key as Coinbase hands it out."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest
from coinbase.rest import RESTClient

from cli.instance_file import DEFAULT_HOME
from supervisor.control_token import control_token, control_token_file, ensure_control_token
from supervisor.keys import UnsafeKey
from supervisor.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def simulator(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that listens, and its port."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "cli.main", "sim", "--port", str(port), "--folder", str(folder), *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder.parent
    )
    try:
        while True:
            assert process.poll() is None, process.communicate()[0]
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield process, port
    finally:
        process.kill()
        process.communicate()


def client_of(folder: Path, port: int, kind: str) -> RESTClient:
    client = RESTClient(
        key_file=str(folder / "keys" / f"coinbase_key_{kind}.json"), base_url=f"127.0.0.1:{port}", timeout=30
    )
    client.session.trust_env, client.session.verify = False, str(folder / "tls" / "ca.pem")
    return client


def test_it_shows_a_key_that_trades_and_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "sim"
    with simulator(folder, "--cash", "500", "--speed", "0", "--products", "BTC-USD") as (process, port):
        for kind in ("es256", "ed25519"):
            made = client_of(folder, port, kind).market_order_buy(f"by-{kind}", "BTC-USD", quote_size="100")
            assert made.success
        process.send_signal(signal.SIGINT)
        shown = process.communicate(timeout=60)[0]
        assert process.returncode == 0, shown
    assert str(folder / "keys" / "coinbase_key_es256.json") in shown and str(folder / "tls" / "ca.pem") in shown
    assert oct((folder / "keys" / "coinbase_key_es256.json").stat().st_mode & 0o777) == "0o600"
    keys = {path.name: path.read_text() for path in (folder / "keys").iterdir()}
    with simulator(folder, "--cash", "500", "--speed", "0", "--products", "BTC-USD") as (_, port):
        client = client_of(folder, port, "ed25519")
        assert {order.client_order_id for order in client.list_orders().orders} == {"by-es256", "by-ed25519"}
        cash = next(one for one in client.get_accounts().accounts if one.currency == "USD")
        assert Decimal(300) <= Decimal(cash.available_balance["value"]) < Decimal("300.1")
    assert {path.name: path.read_text() for path in (folder / "keys").iterdir()} == keys


LED_HERE = """
set -e
ip link set lo up
{ cat /etc/hosts; echo "127.0.0.1 api.coinbase.com"; } > "$1/hosts"
mount --bind "$1/hosts" /etc/hosts
"$2" -m cli.main sim --port 443 --folder "$1/sim" --speed 0 --products BTC-USD --name api.coinbase.com &
until "$2" -c "import socket; socket.create_connection(('127.0.0.1', 443), 1)" 2>/dev/null; do sleep 0.2; done
export REQUESTS_CA_BUNDLE="$1/sim/tls/ca.pem" NO_PROXY=api.coinbase.com
"$2" - "$1/sim/keys/coinbase_key_es256.json" <<'CLIENT'
import sys
from coinbase.rest import RESTClient
client = RESTClient(key_file=sys.argv[1])
print(client.market_order_buy("of-its-own-accord", "BTC-USD", quote_size="100").success, client.base_url)
CLIENT
kill $!
"""


def test_a_client_that_knows_only_coinbase_is_led_here_by_its_name(tmp_path: Path) -> None:
    """In a network of its own, where nothing else can be reached under any name."""
    alone = ["unshare", "--map-root-user", "--net", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a network of his own")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}"}
    command = [*alone, "sh", "-c", LED_HERE, "sh", str(tmp_path), sys.executable]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.endswith("True api.coinbase.com\n"), (ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--name", "api coinbase"), "names is 'api coinbase'"),
        (("--market", "moon"), "market is 'moon': Value error, must be simulated, replay:FILE or coinbase"),
        (("--cash", "much"), "opening_usd is 'much'"),
        (("--speed", "-1"), "--speed"),
        (("--port", "70000"), "--port"),
        (("--key", "rsa"), "--key"),
    ],
)
def test_what_it_cannot_be_is_said_by_name(
    tmp_path: Path, options: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "cli.main", "sim", "--folder", str(tmp_path / "sim"), *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}", "COLUMNS": "200"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "sim" / "exchange.sqlite").exists()


@pytest.mark.parametrize(
    ("options", "variables", "words"),
    [
        (("--market", "replay:none.parquet"), {}, "none.parquet"),
        ((), {"SIM_PLAN_FILE": "none.json"}, "SIM_PLAN_FILE: none.json"),
    ],
)
def test_nothing_is_shown_of_an_exchange_that_does_not_come_to_listen(
    tmp_path: Path, options: tuple[str, ...], variables: dict[str, str], words: str
) -> None:
    command = [sys.executable, "-m", "cli.main", "sim", "--port", str(free_ports(1)[0]), "--folder", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}", "COLUMNS": "200", **variables}
    ended = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path
    )
    assert ended.returncode == 2 and words in ended.stderr and ended.stdout == ""


def test_the_token_that_steers_it_is_the_one_given_or_one_that_is_kept(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    assert control_token(keys, {}) == "" and not control_token_file(keys).exists()
    assert ensure_control_token(keys, {"SIM_CONTROL_TOKEN": "abc"}) == "abc"
    assert not control_token_file(keys).exists()
    made = ensure_control_token(keys, {})
    assert len(made) > 20 and control_token_file(keys).read_text() == made
    assert oct(control_token_file(keys).stat().st_mode & 0o777) == "0o600"
    assert ensure_control_token(keys, {}) == control_token(keys, {}) == made
    assert control_token(keys, {"SIM_CONTROL_TOKEN": "abc"}) == "abc"
    control_token_file(keys).chmod(0o644)
    with pytest.raises(UnsafeKey, match="control_token"):
        ensure_control_token(keys, {})


def test_the_documents_name_the_folder_that_is_used() -> None:
    page = (ROOT / "docs" / "simulated-exchange.md").read_text()
    assert DEFAULT_HOME == "~/.trading-mesh" and "/.mesh/" not in page
    assert set(re.findall(r"[/~\w]*/\.[\w-]+/sim", page)) == {
        "~/.trading-mesh/sim",
        "/home/you/.trading-mesh/sim",
        "HOME/.trading-mesh/sim",
    }
    for document in ("README.md", "docs/operations.md"):
        assert f"`{DEFAULT_HOME}`" in (ROOT / document).read_text(), document


def test_a_key_that_is_none_is_not_used(tmp_path: Path) -> None:
    keys = tmp_path / "sim" / "keys"
    keys.mkdir(parents=True, mode=0o700)
    spoil: list[Callable[[Path], object]] = [
        lambda file: file.write_text("{}"),
        lambda file: file.write_text(json.dumps({"name": "x", "privateKey": "y"})),
        lambda file: file.chmod(0o644),
    ]
    for number, harm in enumerate(spoil):
        file = keys / "coinbase_key_es256.json"
        file.write_text("{}")
        file.chmod(0o600)
        harm(file)
        command = [sys.executable, "-m", "cli.main", "sim", "--folder", str(tmp_path / "sim")]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}", "COLUMNS": "200"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 1 and "coinbase_key_es256.json" in ended.stderr, (number, ended.stderr)
