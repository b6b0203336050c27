"""What `mesh up` agrees to run, and the settings of each process."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.exits import CommandFailed, ExitCode
from cli.instance_file import read_instance, write_instance
from cli.instance_plan import plan_of, port_uses
from cli.up.options import HISTORY_BARS, UpRequest, choose, resolve
from cli.up.saved import not_followed
from meshkit.database_link import DatabaseAddress, SslMode
from supervisor.control_token import ensure_control_token
from supervisor.home import MeshHome
from supervisor.keys import ensure_keys
from tradekit import services
from tradekit.services import SERVICES
from tradekit.settings import DEFAULT_PRODUCTS
from tradekit.states import Profile, Venue


def refused(request: UpRequest, environment: dict[str, str] | None = None, stored=None) -> str:
    with pytest.raises(CommandFailed) as failed:
        resolve(request, stored, environment or {})
    assert failed.value.code is ExitCode.USAGE
    return failed.value.message


def test_the_simulated_market_is_the_default_and_exercises() -> None:
    found = resolve(UpRequest(), None, {})
    assert (found.market, found.venue, found.profile) == ("simulated", Venue.SIMULATED, Profile.EXERCISE)
    assert found.speed == 1200 and found.history_bars == HISTORY_BARS and not found.own_database
    assert found.services == {service.name: service.port for service in SERVICES}


def test_real_prices_are_paper_and_ask_for_evidence() -> None:
    found = resolve(UpRequest(market="coinbase"), None, {})
    assert (found.venue, found.profile, found.speed) == (Venue.PAPER, Profile.EVIDENCE, 1.0)


def test_a_replayed_file_leaves_bars_to_learn_from_and_bars_to_trade_on(candle_file: Path) -> None:
    found = resolve(UpRequest(market=f"replay:{candle_file}"), None, {})
    assert found.venue is Venue.SIMULATED and found.products == ("BTC-USD", "ETH-USD")
    assert found.history_bars == 600
    assert datetime.fromisoformat(found.start) == datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=600)
    assert "SOL-USD" in refused(UpRequest(market=f"replay:{candle_file}", products="SOL-USD"))


def test_what_cannot_be_is_refused_with_its_reason(tmp_path: Path, candle_file: Path) -> None:
    assert "binance" in refused(UpRequest(market="binance"))
    assert "real money" in refused(UpRequest(live=True))
    assert "VENUE=LIVE" in refused(UpRequest(), {"VENUE": "live"})
    assert "VENUE=SANDBOX" in refused(UpRequest(market="coinbase"), {"VENUE": "SANDBOX"})
    assert "pace" in refused(UpRequest(market="coinbase", speed=10.0))
    assert "--speed" in refused(UpRequest(speed=0.0)) and "--speed" in refused(UpRequest(speed=float("nan")))
    assert "seed" in refused(UpRequest(market="coinbase", seed=3)) and "--seed" in refused(UpRequest(seed=-1))
    assert "BTCUSD" in refused(UpRequest(products="BTCUSD"))
    assert "one currency" in refused(UpRequest(products="BTC-USD,ETH-EUR"))
    assert "brave" in refused(UpRequest(profile="brave"))
    assert "no file" in refused(UpRequest(market=f"replay:{tmp_path}/nothing.parquet"))
    assert "GRANULARITY=ONE_MINUTE" in refused(UpRequest(market=f"replay:{candle_file}"), {"GRANULARITY": "ONE_MINUTE"})
    wrong = {"RISK_PORT": "70000", "SIM_PORT": "x", "PRODUCTS": "btc", "DECISION_PROFILE": "brave", "RUN_ID": "a b"}
    found = choose(UpRequest(), None, {**wrong, "VENUE": "live", "MARKET_HISTORY_BARS": "0", "GRANULARITY": "WEEK"})
    told = "\n".join(failed.message for failed in found.faults)
    assert len(found.faults) == 8 and all(f"{name}={value}" in told for name, value in wrong.items())
    assert found.instance.products == DEFAULT_PRODUCTS and found.instance.ports.simulator == 8443


def test_real_money_needs_key_confirmation_and_evidence(tmp_path: Path) -> None:
    message = refused(UpRequest(market="coinbase", live=True))
    assert "EXCHANGE_KEY_FILE" in message and "LIVE_CONFIRM" not in message, "that is asked for once the key is known"
    key = tmp_path / "key.json"
    key.write_text("{}")
    ready = {"EXCHANGE_KEY_FILE": str(key), "LIVE_CONFIRM": "b4f0"}
    assert resolve(UpRequest(market="coinbase", live=True), None, ready).venue is Venue.LIVE
    assert "exercise" in refused(UpRequest(market="coinbase", live=True, profile="exercise"), ready)
    assert "exercise" in refused(UpRequest(market="coinbase", live=True), {**ready, "DECISION_PROFILE": "EXERCISE"})


def test_one_port_for_the_figures_of_all_services_is_refused() -> None:
    assert "METRICS_PORT=9100" in refused(UpRequest(), {"METRICS_PORT": "9100"})
    assert resolve(UpRequest(), None, {"METRICS_PORT": "0"}).page_port


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "key.json")
    told = refused(UpRequest(market="coinbase", live=True), {"EXCHANGE_KEY_FILE": missing, "LIVE_CONFIRM": "x"})
    assert f"EXCHANGE_KEY_FILE={missing} is no file" in told


def test_a_second_start_resumes_and_never_changes_the_ledger(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    first = resolve(UpRequest(seed=7, products="BTC-USD,ETH-USD", speed=600.0), None, {})
    write_instance(home, first)
    stored = read_instance(home)
    assert stored == first
    assert resolve(UpRequest(), stored, {}) == first
    assert resolve(UpRequest(speed=60.0, profile="evidence"), stored, {}).profile is Profile.EVIDENCE
    for other in (UpRequest(seed=8), UpRequest(market="coinbase")):
        assert "ledger" in refused(other, stored=stored)
    assert "DB_HOST" in refused(UpRequest(), {"DB_HOST": "db.example"}, stored)


def test_what_the_environment_says_otherwise_than_the_folder_is_told() -> None:
    stored = resolve(UpRequest(products="BTC-USD,ETH-USD"), None, {})
    environment = {"PRODUCTS": "sol-usd", "DECISION_PROFILE": "evidence", "RUN_ID": "other", "SIM_SEED": "7"}

    def told(request: UpRequest, stored=stored, environment=environment) -> list[str]:
        return not_followed(request, stored, environment, choose(request, stored, environment))

    products, profile, run_id, seed = told(UpRequest())
    assert products.startswith("PRODUCTS=SOL-USD is not used") and "saved BTC-USD,ETH-USD; `mesh up --prod" in products
    assert profile.startswith("DECISION_PROFILE=EVIDENCE") and "saved EXERCISE; `mesh up --profile evidence`" in profile
    assert "saved main" in run_id and "SIM_SEED=7 is not used" in seed and "42 here; --seed" in seed
    assert [line.split("=")[0] for line in told(UpRequest(products="LTC-USD", profile="evidence"))] == [
        "RUN_ID",
        "SIM_SEED",
    ]
    # What is as it is saved needs no word; what is no product is refused, whatever is saved.
    assert not told(UpRequest(), environment={"PRODUCTS": "btc-usd, eth-usd", "DECISION_PROFILE": "exercise"})
    assert not told(UpRequest(), stored=None, environment={"PRODUCTS": "SOL-USD"})
    assert "PRODUCTS=btc: BTC is no product" in refused(UpRequest(), {"PRODUCTS": "btc"}, stored)
    assert "DECISION_PROFILE=bold" in refused(UpRequest(profile="evidence"), {"DECISION_PROFILE": "bold"}, stored)
    assert told(UpRequest(), environment={"PRODUCTS": "btc"}) == []


def test_a_damaged_instance_file_is_told_not_guessed(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    write_instance(home, resolve(UpRequest(), None, {}))
    (home.root / "instance.json").write_text('{"market": "simulated"}')
    with pytest.raises(CommandFailed, match="not readable"):
        read_instance(home)


def test_only_the_executor_gets_the_exchange_key_and_nothing_of_the_caller_leaks_in(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    home.prepare()
    caller = {
        "PATH": "/bin",
        "DB_PASSWORD": "of another database",
        "EXCHANGE_KEY_FILE": "/of/the/caller",
        "MODEL_DIR": "/elsewhere",
        "LIVE_CONFIRM": "b4f0",
        "RISK_ADDRESS": "10.0.0.1:1",
        "SIM_CONTROL_TOKEN": "guess",
    }
    plan = plan_of(home, resolve(UpRequest(), None, caller), ensure_keys(home.keys), caller)
    environments = {service.name: plan.environment_of(service) for service in SERVICES}
    with_key = [name for name, found in environments.items() if "EXCHANGE_KEY_FILE" in found]
    assert with_key == ["executor"]
    assert environments["executor"]["EXCHANGE_KEY_FILE"] == str(plan.keys.exchange_api_key)
    signers = [name for name, found in environments.items() if "TICKET_SIGNING_KEY_FILE" in found]
    assert signers == ["risk"]
    for found in environments.values():
        assert "DB_PASSWORD" not in found and "LIVE_CONFIRM" not in found
        assert found["RISK_ADDRESS"] == "127.0.0.1:8027" and found.get("MODEL_DIR") != "/elsewhere"
    simulator = plan.simulator_environment()
    assert simulator["SIM_CONTROL_TOKEN"] == plan.control_token == "guess"
    assert not any("SIM_CONTROL_TOKEN" in found for found in environments.values())
    assert not any(name.startswith(("DB_", "EXCHANGE_", "MODEL_")) for name in simulator)


def test_the_token_that_steers_the_exchange_is_read_where_it_was_kept(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    home.prepare()
    keys = ensure_keys(home.keys)
    assert plan_of(home, resolve(UpRequest(), None, {}), keys, {}).control_token == ""
    made = ensure_control_token(home.keys, {})
    assert plan_of(home, resolve(UpRequest(), None, {}), keys, {}).control_token == made


def test_with_real_money_the_key_of_the_operator_reaches_the_executor_alone(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path / "home")
    home.prepare()
    key = tmp_path / "key.json"
    key.write_text("{}")
    caller = {"EXCHANGE_KEY_FILE": str(key), "LIVE_CONFIRM": "b4f0", "EXCHANGE_HOST": "127.0.0.1:1"}
    instance = resolve(UpRequest(market="coinbase", live=True), None, caller)
    plan = plan_of(home, instance, ensure_keys(home.keys), caller)
    executor, market = plan.environment_of(services.EXECUTOR), plan.environment_of(services.MARKET)
    assert executor["EXCHANGE_KEY_FILE"] == str(key) and executor["LIVE_CONFIRM"] == "b4f0"
    assert "EXCHANGE_KEY_FILE" not in market and "LIVE_CONFIRM" not in market
    assert executor["EXCHANGE_HOST"] == market["EXCHANGE_HOST"] == "api.coinbase.com"
    assert plan.simulator is None and all(use.service != "exchange_sim" for use in port_uses(plan))


def test_only_a_made_up_market_says_that_it_is_one(tmp_path: Path, candle_file: Path) -> None:
    home = MeshHome.at(tmp_path / "home")
    home.prepare()
    caller = {"PATH": "/bin", "MARKET_SIMULATED": "true"}
    told = {}
    for market in ("simulated", "coinbase", f"replay:{candle_file}"):
        instance = resolve(UpRequest(market=market), None, {})
        plan = plan_of(home, instance, ensure_keys(home.keys), caller)
        told[market.partition(":")[0]] = plan.environment_of(services.MARKET)["MARKET_SIMULATED"]
    key = tmp_path / "key.json"
    key.write_text("{}")
    real = {"EXCHANGE_KEY_FILE": str(key), "LIVE_CONFIRM": "b4f0"}
    instance = resolve(UpRequest(market="coinbase", live=True), None, real)
    plan = plan_of(home, instance, ensure_keys(home.keys), {**caller, **real})
    told["live"] = plan.environment_of(services.MARKET)["MARKET_SIMULATED"]
    assert told == {"simulated": "true", "coinbase": "false", "replay": "false", "live": "false"}


def test_a_database_of_the_operator_is_used_with_its_password(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    home.prepare()
    caller = {"DB_HOST": "db.example", "DB_PASSWORD": "p@ss/word"}
    plan = plan_of(home, resolve(UpRequest(), None, caller), ensure_keys(home.keys), caller)
    assert plan.environment_of(services.RISK)["DB_PASSWORD"] == "p@ss/word"
    address = DatabaseAddress.of_variables(plan.database)
    assert (address.host, address.password, address.mode) == ("db.example", "p@ss/word", SslMode.VERIFY_FULL)


@pytest.mark.parametrize(
    ("caller", "user", "role"),
    [
        ({}, "mesh_{}", None),
        # It has no password for theirs.
        ({"DB_HOST": "db.example", "DB_USER": "owner"}, "owner", "mesh_{}"),
    ],
    ids=["embedded", "own"],
)
def test_each_service_acts_as_its_role_and_the_command_as_the_owner(
    tmp_path: Path, caller: dict[str, str], user: str, role: str | None
) -> None:
    home = MeshHome.at(tmp_path)
    home.prepare()
    plan = plan_of(home, resolve(UpRequest(), None, caller), ensure_keys(home.keys), caller)
    for service in SERVICES:
        own = DatabaseAddress.of_variables(plan.environment_of(service))
        assert (own.user, own.role) == (user.format(service.name), role and role.format(service.name))
    owner = plan.database_address
    assert (owner.user, owner.role) == (caller.get("DB_USER", "postgres"), None)


def test_every_port_names_its_variable(tmp_path: Path) -> None:
    home = MeshHome.at(tmp_path)
    home.prepare()
    instance = replace(resolve(UpRequest(), None, {"MONITOR_PAGE_PORT": "9999"}))
    plan = plan_of(home, instance, ensure_keys(home.keys), {})
    uses = {use.variable: use.port for use in port_uses(plan)}
    assert uses["MONITOR_PAGE_PORT"] == 9999 and uses["SIM_PORT"] == 8443
    assert {service.port_variable for service in SERVICES} <= set(uses)


def test_what_the_plan_does_not_decide_of_the_simulator_is_the_operators(tmp_path):
    home = MeshHome.at(tmp_path)
    given = {
        "SIM_TAKER_FEE": "0.004",
        "SIM_OPENING_USD": "500",
        "SIM_PORT": "1",
        "SIM_SEED": "9",
        "SIM_BIND": "0.0.0.0",
    }
    plan = plan_of(home, resolve(UpRequest(), None, {}), ensure_keys(home.keys), given)
    found = plan.simulator_environment()
    assert (found["SIM_TAKER_FEE"], found["SIM_OPENING_USD"]) == ("0.004", "500")
    assert found["SIM_PORT"] == str(plan.ports.simulator)
    assert found["SIM_SEED"] != "9"
    assert "SIM_BIND" not in found
