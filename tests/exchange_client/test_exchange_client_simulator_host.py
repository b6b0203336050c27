"""Where simulated orders may go: to this machine, or to a name of an own network that proves itself by an own authority."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from svc_executor.settings import ExecutorSettings
from svc_market.settings import MarketSettings


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    names = ("exchange_ca_file", "exchange_key_file", "ticket_public_key_file")
    found = {name: tmp_path / name for name in names}
    for path in found.values():
        path.touch()
    return found


def executor(files: dict[str, Any], **given: Any) -> ExecutorSettings:
    return ExecutorSettings(**{**files, "venue": "SIMULATED", **given})


def market(files: dict[str, Any], **given: Any) -> MarketSettings:
    return MarketSettings(**{"exchange_ca_file": files["exchange_ca_file"], "venue": "SIMULATED", **given})


@pytest.mark.parametrize("make", [executor, market])
@pytest.mark.parametrize(
    "host", ["127.0.0.1:8443", "[::1]:8443", "localhost:8443", "exchange-sim:8443", "EXCHANGE-SIM"]
)
def test_this_machine_and_a_name_without_a_dot_are_taken(make: Any, host: str, files: dict[str, Any]) -> None:
    assert make(files, exchange_host=host).simulator_only


@pytest.mark.parametrize("make", [executor, market])
@pytest.mark.parametrize(
    "host",
    ["api.coinbase.com", "API.COINBASE.COM.", "exchange-sim.example.com:8443", "10.1.2.3:8443", "[2001:db8::1]:8443"],
)
@pytest.mark.parametrize("venue", ["SIMULATED", "REPLAY"])
def test_any_other_host_is_refused_whatever_proves_it(make: Any, host: str, venue: str, files: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="the simulated exchange only"):
        make(files, exchange_host=host, venue=venue)


@pytest.mark.parametrize("make", [executor, market])
def test_a_name_without_an_authority_of_its_own_is_refused(make: Any, files: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="EXCHANGE_CA_FILE"):
        make({**files, "exchange_ca_file": None}, exchange_host="exchange-sim:8443")
