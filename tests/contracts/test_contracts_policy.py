"""The contract is the policy: every method says who may call it, what it changes, how long it takes, how many run."""

import ast
import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from meshkit.policy import ANYONE, OPERATOR, Effect, Policy, policies, service_config
from tests.contracts.contract_walk import ROOT, enums, files, messages, methods
from tradekit.services import SERVICES

NAMES = {service.name for service in SERVICES}
METHODS = methods()
LEVEL_OF_EFFECT = {
    Effect.READ: MethodOptions.NO_SIDE_EFFECTS,
    Effect.IDEMPOTENT: MethodOptions.IDEMPOTENT,
    Effect.ONCE: MethodOptions.IDEMPOTENCY_UNKNOWN,
}
EXPECTED_METHODS = {
    "market": "ListProducts ListCandles WatchCandles ImportCandles BackfillCandles DeleteCandles",
    "signal": "GenerateSignals GetSignal ListSignals WatchSignals GetModel ListModels PromoteModel RollbackModel",
    "bridge": "CreateRecommendation GetRecommendation ListRecommendations WatchRecommendations",
    "validator": "ValidateRecommendation StreamValidations GetReviewer",
    "risk": "AssessRecommendation StreamAssessments GetPortfolioRisk GetLimits SetTradingState",
    "executor": "ExecuteRecommendation GetOrder ListOrders WatchOrders ListPositions Reconcile SetTradingState"
    " GetTradingState CancelOrders ClosePositions ProtectPositions GetLedger AdjustLedger AdoptHoldings",
    "orchestrator": "GetPipeline WatchDecisions ExplainRecommendation CancelRecommendation",
    "monitor": "GetStatus WatchStatus ListAlerts AcknowledgeAlert",
}


def policy_of(method: MethodDescriptor) -> Policy:
    service = method.containing_service.full_name
    return policies(service)[f"/{service}/{method.name}"]


def has_request_id(message: Descriptor) -> bool:
    """In the message itself, or in a frame of its oneof."""
    inner = [field.message_type for field in message.fields if field.message_type is not None]
    return any("request_id" in candidate.fields_by_name for candidate in (message, *inner))


def called_services() -> dict[str, set[str]]:
    """Who opens a channel to whom, read from the sources; the monitor dials all by its table of services."""
    found: dict[str, set[str]] = {}
    for service in SERVICES:
        sources = "\n".join(path.read_text() for path in (ROOT / f"svc_{service.name}").rglob("*.py"))
        dialled = re.findall(r"\.channel\(\s*[\w.()]+,\s*services\.([A-Z]+)\.full_name", sources)
        found[service.name] = {name.lower() for name in dialled}
    return found


def cycle_in(graph: dict[str, set[str]]) -> list[str]:
    """A way that leads back to its start, or nothing."""

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        return next((found for after in sorted(graph.get(node, ())) if (found := walk(after, [*way, node]))), [])

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


def test_contracts_are_those_of_the_eight_services() -> None:
    found = {service.full_name: service for file in files() for service in file.services_by_name.values()}
    assert set(found) == {service.full_name for service in SERVICES}
    for service in SERVICES:
        assert [method.name for method in found[service.full_name].methods] == EXPECTED_METHODS[service.name].split()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_method_has_a_whole_policy(method: MethodDescriptor) -> None:
    policy = policy_of(method)
    assert policy.callers, "nobody may call it"
    assert policy.callers <= NAMES | {ANYONE, OPERATOR}
    assert ANYONE not in policy.callers or len(policy.callers) == 1
    assert policy.max_in_flight > 0
    # A stream of answers lives as long as its reader; everything else ends in one answer, so it has an end.
    assert (policy.deadline_seconds is None) is method.server_streaming
    assert policy.deadline_seconds is None or 0 < policy.deadline_seconds <= 600


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_method_effect_agrees_with_its_name_level_and_request(method: MethodDescriptor) -> None:
    policy = policy_of(method)
    assert method.GetOptions().idempotency_level == LEVEL_OF_EFFECT[policy.effect]
    reads = method.name.startswith(("Get", "List", "Watch", "Explain"))
    assert (policy.effect is Effect.READ) is reads
    assert has_request_id(method.input_type) is (policy.effect is not Effect.READ)
    # Reading is open to the whole mesh; whatever changes something names its callers.
    assert (policy.callers == {ANYONE}) is reads


def test_only_what_makes_orders_is_once_and_no_transport_sends_it_again() -> None:
    once = {method.name for method in METHODS if policy_of(method).effect is Effect.ONCE}
    assert once == {"ExecuteRecommendation", "ClosePositions"}
    config = service_config("trading.executor.v1.ExecutorService")
    methods_with_retry = re.findall(r'"method": "(\w+)"\}\], "timeout": "[^"]+", "retryPolicy"', config)
    assert not once & set(methods_with_retry)
    assert "GetOrder" in methods_with_retry


def test_lists_page_and_watches_resume() -> None:
    for method in METHODS:
        request, answer = method.input_type.fields_by_name, method.output_type.fields_by_name
        if method.name.startswith("List") and method.name not in {"ListPositions", "ListModels"}:
            assert {"page_size", "page_token"} <= set(request), method.full_name
            assert "next_page_token" in answer, method.full_name
            assert method.output_type.fields[0].is_repeated, method.full_name
        if method.name.startswith("Watch"):
            assert method.server_streaming
            assert {"heartbeat", "draining"} <= set(answer), method.full_name
            if method.name != "WatchStatus":
                assert request["after_sequence"].has_presence, method.full_name


def test_enum_zero_is_unspecified() -> None:
    for enum in enums():
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper()
        assert enum.values[0].number == 0, enum.full_name
        assert enum.values[0].name == f"{words}_UNSPECIFIED", enum.full_name
        assert all(value.name.startswith(f"{words}_") for value in enum.values), enum.full_name


def test_money_is_never_a_float() -> None:
    exact = re.compile(r"price|size|amount|notional|fee|commission|pnl|equity|cash|exposure(_|$)|_value|balance|volume")
    floats = {
        field.full_name
        for message in messages()
        for field in message.fields
        if field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT) and exact.search(field.name)
    }
    # A part of the risk score, without a unit, not an amount.
    assert floats == {"trading.risk.v1.ScoreParts.exposure"}


def test_calls_between_services_are_the_designed_ones_and_have_no_cycle() -> None:
    graph = called_services()
    monitor = graph.pop("monitor")
    # Whom a service calls must be up before it; the monitor watches all of them and waits for none.
    for service in SERVICES:
        assert graph.get(service.name, set()) <= {one.name for one in service.starts_after}
    assert {caller: called for caller, called in graph.items() if called} == {
        "signal": {"market"},
        "bridge": {"signal"},
        "orchestrator": {"validator", "risk", "executor"},
    }
    assert cycle_in({**graph, "monitor": monitor | NAMES - {"monitor"}}) == []
    assert cycle_in({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_callers_named_by_policies_are_callers_in_code_and_have_no_cycle() -> None:
    allowed: dict[str, set[str]] = {service.name: set() for service in SERVICES}
    for method in METHODS:
        target = method.containing_service.full_name.split(".")[1]
        for caller in policy_of(method).callers & NAMES:
            allowed[caller].add(target)
    assert cycle_in(allowed) == []
    in_code = called_services()
    for caller, targets in allowed.items():
        assert targets <= in_code[caller], f"{caller} may change {targets} and does not call all of them"


def test_services_do_not_import_each_other() -> None:
    packages = {f"svc_{name}" for name in NAMES}
    for service in SERVICES:
        for path in sorted((ROOT / f"svc_{service.name}").rglob("*.py")):
            assert imported_by(path) & packages <= {f"svc_{service.name}"}, path


def test_what_a_model_is_made_of_knows_no_service_and_training_no_live_one() -> None:
    services_of_ours = {f"svc_{name}" for name in NAMES}
    outer = services_of_ours | {"cli", "exchange_client", "exchange_sim"}
    for folder, forbidden in (("modelkit", outer | {"training", "meshkit", "schema", "trading"}), ("training", outer)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert not imported_by(path) & forbidden, path


def test_kit_and_supervisor_know_nothing_about_trading_and_the_simulator_stays_an_independent_check() -> None:
    trading = {"tradekit", "schema", "exchange_client", "cli", *(f"svc_{name}" for name in NAMES)}
    rooms = (("meshkit", trading), ("supervisor", trading), ("exchange_sim", trading | {"trading"}))
    for folder, forbidden in rooms:
        for path in sorted((ROOT / folder).rglob("*.py")):
            assert not imported_by(path) & forbidden, path


def test_the_reader_of_candle_files_knows_only_the_vocabulary() -> None:
    """The simulated exchange reads by it, so nothing of the mesh may come in through it."""
    ours = {
        "meshkit",
        "schema",
        "exchange_client",
        "exchange_sim",
        "cli",
        "trading",
        *(f"svc_{name}" for name in NAMES),
    }
    for path in sorted((ROOT / "candle_files").rglob("*.py")):
        assert not imported_by(path) & ours, path


def imported_by(path: Path) -> set[str]:
    """Top-level packages that a source file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def test_what_tests_share_lies_in_no_file_of_tests() -> None:
    """Or a test that is moved takes the helpers of others with it."""
    files_of_tests = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        assert not words_imported_by(path.read_text()) & files_of_tests, path


@pytest.mark.parametrize(
    "source",
    [
        "from tests.signal.test_signal_loading import KEY",
        "from tests.signal import test_signal_loading",
        "import tests.signal.test_signal_loading as loading",
        "from test_signal_loading import KEY",
        "from . import test_signal_loading",
        "from .test_signal_loading import KEY",
    ],
)
def test_a_file_of_tests_is_seen_however_it_is_imported(source: str) -> None:
    assert "test_signal_loading" in words_imported_by(source)


def words_imported_by(source: str) -> set[str]:
    """Every part of the dotted names that a source imports, and from where."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return {word for name in names for word in name.split(".")}
