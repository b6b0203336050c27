"""Real money: what `mesh up --live` refuses, shows and asks before anything is started, and a preview that sends no order."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from live_host import tunnelling, write_tls

from cli.effective import settings_of
from cli.exits import CommandFailed, ExitCode
from cli.instance_plan import plan_of
from cli.serving_model import ModelVerdict
from cli.up import live_shown
from cli.up.live import LiveAccount, read_account, require_known, require_named
from cli.up.live_preview import first_tradable
from cli.up.options import UpRequest, resolve
from exchange_client import Account, ExchangeProduct, ExchangeRefused, FeeRates, KeyPermissions, Portfolio
from supervisor.home import MeshHome
from supervisor.keys import key_files
from supervisor.python_process import PYTHONPATH
from svc_bridge.settings import BridgeSettings
from svc_executor.settings import ExecutorSettings
from svc_risk.settings import RiskSettings
from svc_validator.settings import OnFailure, ValidatorSettings
from tests.executor.venue import FaultProxy, Simulator, start_simulator
from tradekit import services
from tradekit.states import Venue

KEY = KeyPermissions(
    can_view=True, can_trade=True, can_transfer=False, portfolio_uuid="b4f0", portfolio_type="CONSUMER"
)
TRADING = Portfolio("b4f0", "Trading", "CONSUMER")
FEES = FeeRates(Decimal("0.005"), Decimal("0.009"), "Intro 1")


class Told:
    """The exchange's words on key and account."""

    def __init__(
        self, permissions: KeyPermissions = KEY, portfolios: tuple[Portfolio, ...] | None = (TRADING,)
    ) -> None:
        self.permissions, self.shown = permissions, portfolios

    async def key_permissions(self) -> KeyPermissions:
        return self.permissions

    async def portfolios(self) -> tuple[Portfolio, ...]:
        if self.shown is None:
            raise ExchangeRefused("/portfolios", "403")
        return self.shown

    async def accounts(self) -> tuple[Account, ...]:
        amounts = (("BTC", "0.5", "0.1"), ("USD", "900", "100"), ("SHIB", "7", "0"), ("ETH", "0", "0"))
        return tuple(Account(currency, Decimal(free), Decimal(hold)) for currency, free, hold in amounts)

    async def best_bids(self, products: Any) -> dict[str, Decimal]:
        return {"BTC-USD": Decimal(50000)}

    async def fee_rates(self) -> FeeRates:
        return FEES


async def account_of(told: Told) -> LiveAccount:
    return await read_account(told, ("BTC-USD", "ETH-USD"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"can_transfer": True}, "can move money out: make a key of one portfolio with view and trade only"),
        ({"can_trade": False}, "cannot trade"),
        ({"can_view": False}, "cannot view"),
        ({"portfolio_uuid": ""}, "which portfolio"),
    ],
)
async def test_a_key_that_may_too_much_or_too_little_is_refused_with_what_to_do(change: Any, words: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        await account_of(Told(replace(KEY, **change)))
    assert words in failed.value.message and failed.value.code is ExitCode.USAGE


async def test_a_portfolio_is_confirmed_by_its_name_or_uuid_alone() -> None:
    portfolio = (await account_of(Told())).portfolio
    for typed in ("Trading", " trading ", "B4F0"):
        require_named(portfolio, typed)
    for typed in ("", " ", "Trading 2", "yes", "b4f"):
        with pytest.raises(CommandFailed, match=r"nothing was started.*Trading \(b4f0\)"):
            require_named(portfolio, typed)
    nameless = (await account_of(Told(portfolios=None))).portfolio
    assert nameless == Portfolio("b4f0", "", "CONSUMER")
    with pytest.raises(CommandFailed):
        require_named(nameless, "")
    require_known(portfolio, "b4f0")
    require_known(portfolio, "")
    with pytest.raises(CommandFailed, match="ledger of portfolio 0000"):
        require_known(portfolio, "0000")


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    key = tmp_path / "key.json"
    key.write_text("{}")
    return {"EXCHANGE_KEY_FILE": str(key), "LIVE_CONFIRM": "b4f0", "PRODUCTS": "BTC-USD,ETH-USD", **more}


async def test_what_is_about_to_be_risked_is_what_the_services_start_with(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path / "home")
    limits = {
        "RISK_DAILY_LOSS_RATIO": "0.02",
        "RISK_MAX_ORDER_NOTIONAL": "75",
        "ENTRY_QUOTE_SIZE": "50",
        "STOP_RATIO": "0.04",
    }
    given = environment(tmp_path, **limits)
    plan = plan_of(home, resolve(UpRequest(live=True), None, given), key_files(home.keys), given)
    started = live_shown.Started(
        settings_of(plan, services.EXECUTOR, ExecutorSettings),
        settings_of(plan, services.BRIDGE, BridgeSettings),
        settings_of(plan, services.RISK, RiskSettings),
        settings_of(plan, services.VALIDATOR, ValidatorSettings),
        model_reviews=False,
    )
    lines = live_shown.risk_lines(await account_of(Told()), started, None)
    said = "\n".join(f"{name}: {text}" for name, text in lines)
    for words in (
        *("portfolio: Trading (b4f0), type CONSUMER", "money: 900 USD free, 100 on hold"),
        *("held: 0.5 BTC free, 0.1 on hold; about 30000.00 USD", "held: 1 other currencies"),
        *("new position: 50 USD", "order type: MARKET", "largest order, quote currency: 75"),
        "loss of a day that locks entries, share of equity: 0.02, of this cash 20.00 USD",
        *("stop 4 % below, target 10 % above", "taker 0.9 %, maker 0.5 %", "in and out of one position about 0.9 USD"),
        *(
            "none yet: one is trained",
            "profile: EVIDENCE",
            "review: no language model is named (OLLAMA_HOST): every entry is",
        ),
    ):
        assert words in said, words
    rules = started.validator.model_copy(update={"llm_on_failure": OnFailure.RULES})
    assert live_shown.review_words(rules, False) == "by the rules"
    assert "self-test every entry is refused" in live_shown.review_words(started.validator, True)
    assert "self-test the rules decide" in live_shown.review_words(rules, True)
    assert "says HOLD" in live_shown.model_words(ModelVerdict(True, "", "", (), "2026", "m-1", theta_buy=1.0))
    assert "edge of 0.3" in live_shown.model_words(ModelVerdict(True, "", "", (), "2026", "m-1", theta_buy=0.3))


def test_live_and_sandbox_are_typed_and_take_their_own_hosts_and_keys(tmp_path: Path) -> None:
    home, given = MeshHome.at(tmp_path / "home"), environment(tmp_path)
    live = resolve(UpRequest(live=True), None, given)
    assert (live.market, live.venue, live.portfolio) == ("coinbase", Venue.LIVE, "b4f0")
    canned = resolve(UpRequest(sandbox=True), None, {})
    assert (canned.market, canned.venue, canned.portfolio) == ("coinbase", Venue.SANDBOX, "")
    plan = plan_of(home, canned, key_files(home.keys), given)
    executor, market = plan.environment_of(services.EXECUTOR), plan.environment_of(services.MARKET)
    assert plan.simulator is None and executor["EXCHANGE_HOST"] == "api-sandbox.coinbase.com"
    assert (market["EXCHANGE_HOST"], market["MARKET_SIMULATED"]) == ("api.coinbase.com", "false")
    # The operator's key is for the real exchange alone.
    assert executor["EXCHANGE_KEY_FILE"] == str(plan.keys.exchange_api_key)
    assert str(given["EXCHANGE_KEY_FILE"]) not in {*executor.values(), *market.values()}


@pytest.mark.parametrize(
    ("request_", "stored", "words"),
    [
        (UpRequest(live=True, sandbox=True), None, "two venues"),
        (UpRequest(market="simulated", live=True), None, "prices that are not real"),
        (UpRequest(market="simulated", sandbox=True), None, "prices that are not real"),
        (UpRequest(), UpRequest(live=True), "venue LIVE, not PAPER"),
        (UpRequest(), UpRequest(sandbox=True), "venue SANDBOX, not PAPER"),
        (UpRequest(live=True), UpRequest(sandbox=True), "venue SANDBOX, not LIVE"),
        (UpRequest(live=True), UpRequest(), "prices that are not real"),
        (UpRequest(market="coinbase", live=True), UpRequest(market="coinbase"), "venue PAPER, not LIVE"),
        (UpRequest(live=True, profile="exercise"), None, "exercise is refused with real money"),
    ],
)
def test_a_pair_that_is_not_allowed_is_refused(
    tmp_path: Path, request_: UpRequest, stored: UpRequest | None, words: str
) -> None:
    given = environment(tmp_path)
    before = resolve(stored, None, given) if stored is not None else None
    with pytest.raises(CommandFailed) as failed:
        resolve(request_, before, given)
    assert words in failed.value.message and failed.value.code is ExitCode.USAGE
    if before is not None and before.venue in (Venue.LIVE, Venue.SANDBOX):
        assert "MESH_HOME" in failed.value.advice


def test_real_money_that_nobody_confirmed_is_not_spent(tmp_path: Path) -> None:
    given = environment(tmp_path)
    stored = resolve(UpRequest(live=True), None, given)
    with pytest.raises(CommandFailed, match="names the portfolio"):
        resolve(UpRequest(live=True), stored, {**given, "LIVE_CONFIRM": ""})


def test_the_first_product_that_can_be_bought_is_previewed() -> None:
    rules = [Decimal("0.01")] * 3
    limits = [Decimal(1)] * 4
    stopped = ExchangeProduct("BTC-USD", "BTC", *rules, *limits, "offline", tradable=False)
    open_ = ExchangeProduct("ETH-USD", "ETH", *rules, *limits, "online", tradable=True)
    assert first_tradable(("BTC-USD", "SOL-USD", "ETH-USD"), (stopped, open_)) is open_
    with pytest.raises(CommandFailed, match="BTC-USD offline, SOL-USD not listed"):
        first_tradable(("BTC-USD", "SOL-USD"), (stopped,))


# ---- the command itself, unchanged, at a host that is taken for the live one ----------------------------------------------


class Journal(FaultProxy):
    """Before the simulated exchange: every request that reached it."""

    requests: list[tuple[str, str]]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path.rpartition("/brokerage/")[2]))
        status, answer = await self._forward(request, await request.read())
        return web.Response(status=status, body=answer, content_type="application/json")


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("live")
    write_tls(folder / "state" / "tls")
    running = start_simulator(folder)
    running.key_file.chmod(0o600)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
async def journal(exchange: Simulator) -> AsyncIterator[Journal]:
    journal = Journal(exchange)
    journal.requests = []
    await journal.start()
    try:
        yield journal
    finally:
        await journal.stop()


async def mesh_up_live(journal: Journal, folder: Path, *arguments: str) -> tuple[int, str]:
    """`mesh up --live` without a terminal, and what it said."""
    async with tunnelling(journal.port) as proxy:
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "MESH_HOME": str(folder / "mesh"),
            "PYTHONPATH": PYTHONPATH,
            "COLUMNS": "240",
            "PRODUCTS": "BTC-USD,ETH-USD",
            "EXCHANGE_KEY_FILE": str(journal.simulator.key_file),
            "HTTPS_PROXY": proxy,
            "SSL_CERT_FILE": str(journal.simulator.ca_file),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", "up", "--live", *arguments),
            env=given,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 240)
        assert process.returncode is not None
        return process.returncode, said.decode()


async def test_a_preview_asks_the_exchange_and_sends_nothing(journal: Journal, tmp_path: Path) -> None:
    code, said = await mesh_up_live(journal, tmp_path, "--preview")
    assert code == 0, said
    assert "what is about to be risked" in said and "10000000 USD free" in said
    assert "would take it" in said and "nothing was sent" in said
    body = said[said.index('{"client_order_id"') :]
    sent = json.JSONDecoder().raw_decode(body)[0]
    assert (sent["product_id"], sent["side"]) == ("BTC-USD", "BUY")
    assert sent["order_configuration"] == {"market_market_ioc": {"quote_size": "100"}}
    posted = [path for method, path in journal.requests if method != "GET"]
    assert posted == ["orders/preview"]
    assert ("GET", "key_permissions") in journal.requests
    # Nothing runs and nothing is left but what every look leaves.
    assert not (tmp_path / "mesh" / "postgres").exists() and not (tmp_path / "mesh" / "instance.json").exists()


async def test_money_whose_owner_was_not_named_is_not_spent(journal: Journal, tmp_path: Path) -> None:
    code, said = await mesh_up_live(journal, tmp_path, "--confirm", "somebody else's")
    assert code == 2 and "nothing was started" in said and "somebody else's" in said, said
    assert not [path for method, path in journal.requests if method != "GET"]
    assert not (tmp_path / "mesh" / "instance.json").exists()
