"""The kit's pure rooms: fields, paging, policy, settings, errors."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr, ValidationError

from meshkit import errors, paging
from meshkit.backoff import Backoff
from meshkit.clock import FixedClock, SystemClock
from meshkit.fields import Fields
from meshkit.policy import GATEWAY, NEVER, Effect, Policy, Retry, policies, service_config
from meshkit.settings import MASK, KitSettings, effective, faults_of, load, report
from tests.meshkit.toys import TOY_NAME
from tradekit.states import Side
from trading.common.v1 import trade_pb2

FIRST, LAST = datetime(2009, 1, 3, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
POSITIONS = st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(max_size=20)), max_size=4)


@settings(max_examples=40)
@given(POSITIONS, st.text(max_size=20))
def test_page_tokens_come_back_and_belong_to_their_query(position: dict[str, str | int], scope: str) -> None:
    token = paging.encode(position, scope)
    assert paging.decode(token, scope) == position
    with pytest.raises(paging.BadToken):
        paging.decode(token, scope + "x")


@given(st.text(max_size=200))
def test_foreign_tokens_are_refused_and_never_crash(token: str) -> None:
    with pytest.raises(paging.BadToken):
        paging.decode(token)


def test_all_violations_are_collected_with_nested_paths() -> None:
    f = Fields()
    f.uuid("request_id", "nonsense")
    inner = f.inside("recommendation")
    inner.text("product_id", "BTC/USD", max_length=20, pattern=r"[A-Z0-9]+-[A-Z]+")
    inner.timestamp("as_of", None, earliest=FIRST, latest=LAST)
    inner.finite("ratio", math.nan, 0, 1)
    inner.finite("ratio2", 2.0, 0, 1)
    inner.integer("count", 11, 0, 10)
    inner.enum("side", 0, trade_pb2.Side, "SIDE", Side)
    inner.enum("side2", 9, trade_pb2.Side, "SIDE", Side)
    inner.enum("side3", 2, trade_pb2.Side, "SIDE", [Side.BUY])
    inner.repeated("items", [1, 2, 3], high=2)
    inner.parse("size", "abc", int, 0)
    f.page(-1, "junk", 50, 100)
    f.check("legs", False, "ONE_OF", "set one")
    with pytest.raises(errors.InvalidRequest) as found:
        f.done()
    broken = [(violation.field, violation.rule) for violation in found.value.violations]
    assert broken == [
        ("request_id", "UUID"),
        ("recommendation.product_id", "PATTERN"),
        ("recommendation.as_of", "REQUIRED"),
        ("recommendation.ratio", "NOT_FINITE"),
        ("recommendation.ratio2", "OUT_OF_RANGE"),
        ("recommendation.count", "OUT_OF_RANGE"),
        ("recommendation.side", "ENUM"),
        ("recommendation.side2", "ENUM"),
        ("recommendation.side3", "ENUM"),
        ("recommendation.items", "COUNT"),
        ("recommendation.size", "INVALID"),
        ("page_size", "OUT_OF_RANGE"),
        ("page_token", "INVALID_POSITION"),
        ("legs", "ONE_OF"),
    ]
    assert found.value.reason == "INVALID_REQUEST"


def test_good_values_are_typed() -> None:
    f, id = Fields(), uuid4()
    at = Timestamp(seconds=1_700_000_000, nanos=123_456_789)
    assert f.uuid("id", str(id)) == id
    assert f.uuid("id", "", required=False) is None
    assert f.text("t", "BTC-USD", max_length=20, pattern="[A-Z-]+") == "BTC-USD"
    assert f.text("t", "", min_length=0, max_length=20) == ""
    assert f.timestamp("at", at, earliest=FIRST, latest=LAST) == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert f.timestamp("at", None, required=False, earliest=FIRST, latest=LAST) is None
    assert f.enum("side", 2, trade_pb2.Side, "SIDE", Side) is Side.SELL
    assert f.enum("side", 2, trade_pb2.Side, "SIDE", [Side.SELL]) is Side.SELL
    assert f.page(0, "", 50, 100).size == 50
    assert f.page(1000, "", 50, 100).size == 100
    assert f.page(5, paging.encode({"sequence": 7}, "s"), 50, 100, "s").position == {"sequence": 7}
    assert f.parse("size", "12", int, 0) == 12
    f.done()


def test_a_lone_bad_token_has_the_position_reason() -> None:
    f = Fields()
    f.page(0, "junk", 50, 100)
    with pytest.raises(errors.InvalidRequest) as found:
        f.done()
    assert found.value.reason == "INVALID_POSITION"


@given(st.text(max_size=100))
def test_no_spelling_makes_a_second_key_of_one_uuid(text: str) -> None:
    f = Fields()
    value = f.uuid("id", text)
    assert f.violations or str(value) == text.lower()


@pytest.mark.parametrize("spelling", ["{%s}", "urn:uuid:%s", " %s", "%s\n"])
def test_other_uuid_spellings_are_refused(spelling: str) -> None:
    f = Fields()
    assert f.uuid("id", spelling % uuid4()) == UUID(int=0)
    assert f.violations


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_timestamp_gives_a_time_in_range_or_a_violation(seconds: int, nanos: int) -> None:
    f = Fields()
    value = f.timestamp("at", Timestamp(seconds=seconds, nanos=nanos), earliest=FIRST, latest=LAST)
    assert FIRST <= value <= LAST
    within = FIRST.timestamp() <= seconds < LAST.timestamp() and 0 <= nanos < 10**9
    assert not within or not f.violations


@pytest.mark.parametrize(
    ("seconds", "nanos", "rule"),
    [
        (int(FIRST.timestamp()), 0, None),
        (int(FIRST.timestamp()) - 1, 999_999_999, "OUT_OF_RANGE"),
        (int(LAST.timestamp()), 999, None),
        (int(LAST.timestamp()), 1000, "OUT_OF_RANGE"),
        (0, 0, "OUT_OF_RANGE"),
        (1_700_000_000, -1, "TIMESTAMP"),
        (1_700_000_000, 10**9, "TIMESTAMP"),
        (10**13, 0, "TIMESTAMP"),
    ],
)
def test_a_time_is_within_its_bounds_to_the_microsecond(seconds: int, nanos: int, rule: str | None) -> None:
    """The epoch, which an unset message reads as, is out of range where it was sent; only an absent field is absent."""
    for required in (True, False):
        f = Fields()
        sent = Timestamp(seconds=seconds, nanos=nanos)
        value = f.timestamp("at", sent, required=required, earliest=FIRST, latest=LAST)
        assert [violation.rule for violation in f.violations] == ([] if rule is None else [rule])
        assert rule is None or value == (FIRST if required else None)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_text_lets_no_control_character_through_and_shortens_what_it_shows(text: str) -> None:
    f = Fields()
    value = f.text("t", text, max_length=200)
    assert "\x00" not in value
    assert all(len(violation.description) < 300 for violation in f.violations)


def test_policies_come_from_the_contract(toy: Any) -> None:
    table = policies(TOY_NAME)
    once = table[f"/{TOY_NAME}/Once"]
    assert (once.callers, once.effect, once.deadline_seconds, once.max_in_flight, once.streaming) == (
        frozenset({"friend", "operator"}),
        Effect.ONCE,
        5.0,
        2,
        False,
    )
    assert table[f"/{TOY_NAME}/Work"].streaming
    with pytest.raises(errors.Misconfigured, match="no contract"):
        policies("nobody.v1.Nothing")


def test_service_config_retries_unary_reads_only(toy: Any) -> None:
    config = json.loads(service_config(TOY_NAME))
    retried = {entry["name"][0]["method"] for entry in config["methodConfig"] if "retryPolicy" in entry}
    timed = {entry["name"][0]["method"]: entry["timeout"] for entry in config["methodConfig"] if "timeout" in entry}
    assert retried == {"Read", "Capped"}
    assert timed == {"Read": "5.000s", "Capped": "0.300s", "Once": "5.000s"}
    assert config["retryThrottling"]["maxTokens"] > 0
    assert "healthCheckConfig" not in config


def test_behind_a_sidecar_a_client_keeps_its_times_and_repeats_nothing(toy: Any) -> None:
    alone, behind = (json.loads(service_config(TOY_NAME, retries=retries)) for retries in (True, False))
    assert "retryPolicy" not in json.dumps(behind)
    assert "retryThrottling" not in behind
    times = [[entry.get("timeout") for entry in config["methodConfig"]] for config in (alone, behind)]
    assert times[0] == times[1]


def policy(effect: Effect, deadline: float | None, *callers: str, streaming: bool = False) -> Policy:
    return Policy(frozenset(callers or "*"), effect, deadline, 8, streaming)


def test_a_transport_repeats_reads_within_their_time_and_of_effects_what_never_arrived() -> None:
    assert policy(Effect.READ, 5.0).retry == Retry(2, received=True, per_try_seconds=1.666)
    assert policy(Effect.IDEMPOTENT, 5.0).retry == Retry(2, received=False, per_try_seconds=None)
    assert policy(Effect.ONCE, 5.0).retry == NEVER
    for effect in Effect:
        assert policy(effect, None, streaming=True).retry == NEVER
        assert policy(effect, 600.0, streaming=True).retry == NEVER


@given(st.integers(3, 600_000))
def test_all_tries_fit_into_the_deadline(milliseconds: int) -> None:
    retry = policy(Effect.READ, milliseconds / 1000).retry
    assert retry.per_try_seconds is not None
    assert 0 < round(retry.per_try_seconds * 1000) * (retry.attempts + 1) <= milliseconds


def test_the_gateway_reaches_what_reads_and_is_open_to_everybody() -> None:
    assert policy(Effect.READ, 5.0, "*").allows(GATEWAY)
    assert not policy(Effect.IDEMPOTENT, 5.0, "*").allows(GATEWAY)
    assert not policy(Effect.ONCE, 5.0, "*").allows(GATEWAY)
    assert not policy(Effect.READ, 5.0, "orchestrator").allows(GATEWAY)
    # Naming it does not help; contracts that do are refused where the mesh's policies are made.
    assert not policy(Effect.READ, 5.0, GATEWAY).allows(GATEWAY)
    assert policy(Effect.IDEMPOTENT, 5.0, "*").allows("orchestrator")


class ToySettings(KitSettings):
    service_name: str = "toy"
    port: int = Field(8000, validation_alias="TOY_PORT")
    api_key: str = Field("", description="a key")
    signing_secret: SecretStr = Field(SecretStr("s3cret"), description="a secret")


def test_settings_come_from_the_environment_and_are_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_PORT", "8027")
    monkeypatch.setenv("PORT", "1")  # another service's name for its port is not ours
    monkeypatch.setenv("DB_HOST", "/run/socket")
    monkeypatch.setenv("OTLP_ENDPOINT", "")
    monkeypatch.setenv("MESH_LOG_LEVEL", "DEBUG")
    found = load(ToySettings)
    assert (found.port, found.db_host, found.otlp_endpoint, found.mesh_log_level) == (
        8027,
        "/run/socket",
        None,
        "debug",
    )
    assert ToySettings(port=1).port == 1
    with pytest.raises(ValidationError):
        found.port = 1  # type: ignore[misc]


def test_secrets_are_masked_wherever_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "k3y-value")
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    shown = effective(load(ToySettings))
    assert (shown["API_KEY"], shown["DB_PASSWORD"], shown["SIGNING_SECRET"]) == (MASK, MASK, MASK)
    assert shown["TOY_PORT"] == "8000"
    assert "hunter2" not in json.dumps(shown)


def test_every_fault_is_reported_with_variable_value_and_rule(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name, value in {
        "TOY_PORT": "70000",
        "DB_POOL_SIZE": "0",
        "MESH_AUTH": "tls",
        "OTLP_ENDPOINT": "collector:4318",
        "DB_TIMEOUT_SECONDS": "soon",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        load(ToySettings)
    told = capsys.readouterr().err
    assert left.value.code == 2
    assert "5 fault(s)" in told
    for variable in ("TOY_PORT = 70000", "DB_POOL_SIZE = 0", "MESH_AUTH = tls", "OTLP_ENDPOINT = coll", "DB_TIMEOUT"):
        assert variable in told


def test_faults_of_several_variables_are_sentences_and_none_hides_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class Paired(ToySettings):
        low: int = Field(1)
        high: int = Field(2)

        def disagreements(self) -> Iterator[str]:
            yield from super().disagreements()
            if self.low >= self.high:
                yield f"LOW = {self.low} must be below HIGH = {self.high}"
            if self.high > 9:
                yield f"HIGH = {self.high} is above 9"

    def told(**variables: str) -> list[str]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError) as found:
            Paired()
        return faults_of(Paired, found.value)

    assert told(LOW="11", HIGH="10") == ["LOW = 11 must be below HIGH = 10.", "HIGH = 10 is above 9."]
    # LOW stands at its default while the others are looked at; what would be said of that default is not said.
    assert [line[:20] for line in told(LOW="x")] == ["LOW = x: must be a v", "HIGH = 10 is above 9"]
    assert [line[:20] for line in told(LOW="x", HIGH="1")] == ["LOW = x: must be a v"]


def test_a_setting_without_default_says_that_it_is_not_set() -> None:
    class Needy(ToySettings):
        ticket_key: str = Field(description="path of the public key")

    with pytest.raises(ValidationError) as found:
        Needy()
    assert "TICKET_KEY is not set" in report(Needy, found.value)


def test_half_of_a_surrogate_pair_is_the_callers_fault() -> None:
    """JSON can carry it, in a body or in a page token; neither UTF-8 nor the database can."""
    fields = Fields()
    fields.text("note", "seen \ud83d", max_length=200)
    assert [one.rule for one in fields.violations] == ["NOT_UNICODE"]
    assert errors.to_status(errors.InvalidRequest(fields.violations), "test.mesh").code == 3
    with pytest.raises(paging.BadToken, match="not readable"):
        paging.decode(paging.encode({"id": "\ud83d"}))


@pytest.mark.parametrize("bind", ["127.0.0.1", "localhost", "::1"])
def test_authentication_off_is_fine_on_loopback(bind: str) -> None:
    assert ToySettings(mesh_bind=bind).mesh_auth == "off"


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.1", "mesh.example"])
def test_authentication_off_is_refused_elsewhere(bind: str) -> None:
    with pytest.raises(ValidationError, match="loopback"):
        ToySettings(mesh_bind=bind)


@given(st.integers(0, 100))
def test_backoff_grows_within_its_bounds_and_resets(seed: int) -> None:
    backoff = Backoff(0.2, 10.0, random.Random(seed))
    delays = [backoff.next_seconds() for _ in range(50)]
    assert all(0.1 <= delay <= 10.0 for delay in delays)
    assert delays[-1] >= 5.0
    backoff.reset()
    assert backoff.next_seconds() <= 0.2


def test_a_bare_transport_status_gets_a_fitting_error() -> None:
    def bare(code: grpc.StatusCode) -> errors.MeshError:
        error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="words")
        return errors.from_rpc_error(error)

    assert bare(grpc.StatusCode.UNAVAILABLE).reason == "DEPENDENCY_UNAVAILABLE"
    assert isinstance(bare(grpc.StatusCode.UNAVAILABLE), errors.Unavailable)
    assert isinstance(bare(grpc.StatusCode.DEADLINE_EXCEEDED), errors.DeadlineTooShort)
    assert bare(grpc.StatusCode.CANCELLED).reason == "CANCELLED"


def test_clocks_are_aware_and_the_fixed_one_moves_only_when_told() -> None:
    assert SystemClock().now().tzinfo is UTC
    clock = FixedClock(datetime(2025, 1, 1, tzinfo=UTC))
    clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (datetime(2025, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC), 1.5)
    with pytest.raises(ValueError, match="aware"):
        FixedClock(datetime(2025, 1, 1))  # noqa: DTZ001 - the naive time is the point
