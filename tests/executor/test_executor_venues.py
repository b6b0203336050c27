"""Every pair of venue and host, for orders and for candles: those of the design are taken, all others are refused by name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from exchange_client.adapters import ADAPTERS
from svc_executor.settings import ExecutorSettings
from svc_market.settings import MarketSettings
from tradekit.states import Venue

COINBASE = ADAPTERS["coinbase"]
LIVE, SANDBOX, HERE, ELSEWHERE = (
    str(COINBASE.live_host),
    str(COINBASE.sandbox_host),
    "127.0.0.1:8443",
    "exchange.example",
)
HOSTS = (LIVE, SANDBOX, HERE, ELSEWHERE)
ORDERS = {
    Venue.SIMULATED: {HERE},
    Venue.REPLAY: {HERE},
    Venue.PAPER: {HERE},
    Venue.SANDBOX: {SANDBOX},
    Venue.LIVE: {LIVE},
}
# Paper's prices are the real ones, read at the exchange or at the simulated one that mirrors them.
CANDLES = {**ORDERS, Venue.PAPER: set(HOSTS), Venue.SANDBOX: {LIVE}}


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "key"
    file.write_text("{}")
    files = ("mesh_token_file", "mesh_callers_file", "ticket_public_key_file", "exchange_key_file")
    return {**dict.fromkeys(files, file), "mesh_auth": "token", "halt_file": tmp_path / "halt", "live_confirm": "p"}


def test_orders_go_where_their_venue_says(given: dict[str, Any]) -> None:
    for venue, host in itertools.product(Venue, HOSTS):
        settings = {**given, "venue": venue, "exchange_host": host}
        if host in ORDERS[venue]:
            assert ExecutorSettings(**settings).exchange_host == host
        else:
            with pytest.raises(ValidationError, match=rf"VENUE={venue} .*EXCHANGE_HOST="):
                ExecutorSettings(**settings)


def test_candles_come_from_where_their_venue_says(given: dict[str, Any]) -> None:
    given = {name: given[name] for name in ("mesh_auth", "mesh_token_file", "mesh_callers_file")}
    for venue, host in itertools.product(Venue, HOSTS):
        settings = {**given, "venue": venue, "exchange_host": host}
        if host in CANDLES[venue]:
            assert MarketSettings(**settings).exchange_host == host
            if venue in (Venue.SIMULATED, Venue.REPLAY):
                assert MarketSettings(**settings, market_simulated=True).market_simulated
                continue
            with pytest.raises(ValidationError, match=f"MARKET_SIMULATED is refused with VENUE={venue}"):
                MarketSettings(**settings, market_simulated=True)
        else:
            with pytest.raises(ValidationError, match=rf"VENUE={venue} .*EXCHANGE_HOST="):
                MarketSettings(**settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"live_confirm": ""}, "set LIVE_CONFIRM to the portfolio"),
        ({"halt_file": None}, "needs HALT_FILE"),
        ({"mesh_auth": "off"}, "set MESH_AUTH=token"),
        ({"decision_profile": "EXERCISE"}, "trades without evidence"),
        ({"exchange_ca_file": Path(__file__)}, "unset EXCHANGE_CA_FILE"),
        ({"exchange_key_file": None}, "EXCHANGE_KEY_FILE is needed"),
    ],
)
def test_real_money_needs_all_of_it_and_says_what_is_missing(given: dict[str, Any], change: Any, words: str) -> None:
    live = {**given, "venue": "LIVE", "exchange_host": LIVE}
    assert ExecutorSettings(**live).portfolio == "p"
    with pytest.raises(ValidationError, match=words):
        ExecutorSettings(**{**live, **change})
