"""Reasons are contract: errors use only names of ErrorReason, and docs/reasons.md lists every reason of a decision."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from svc_validator.prompt import MODEL_REASONS
from tests.contracts.contract_walk import ROOT
from tradekit.states import ORDER_TERMINAL, OrderState
from trading.common.v1 import error_pb2

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\Z")
ERROR_REASONS = {
    name.removeprefix("ERROR_REASON_") for name in error_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"].values_by_name
} - {"UNSPECIFIED"}
# Callables whose first argument is the reason of an error.
ERRORS = {"Unavailable", "FailedPrecondition", "Aborted"}
# Callables whose code is no reason: enum prefixes, HTTP methods, field rules, variables of the environment.
OTHERS = {
    "enum_number",
    "enum",
    "Value",
    "Name",
    "private",
    "public",
    "_request",
    "_call",
    "__init__",
    "_broken",
    "Field",
    "getenv",
}
# Codes put together at run time, spelled out.
BUILT = {
    "MODEL_": {f"MODEL_{reason}" for reason in MODEL_REASONS if reason != "OK"},
    "ORDER_": {f"ORDER_{state.value}" for state in OrderState if state not in ORDER_TERMINAL},
}
# Constants that are reasons and not an argument of anything.
CONSTANTS = ("svc_market/candles.py", "candle_files/rows.py", "candle_files/checks.py")


def sources() -> list[Path]:
    folders = [
        *ROOT.glob("svc_*"),
        ROOT / "exchange_client",
        ROOT / "meshkit",
        ROOT / "modelkit",
        ROOT / "training",
        ROOT / "tradekit",
        ROOT / "candle_files",
    ]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def text_of(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def error_reasons_in(tree: ast.AST) -> Iterator[str]:
    """Reasons given to errors, and reasons that errors are compared with."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            if name_of(node) in ERRORS and node.args:
                yield from filter(None, [text_of(node.args[0])])
            if name_of(node) in ERRORS | {"DeadlineTooShort", "TooManyInFlight"}:
                yield from filter(None, [text_of(k.value) for k in node.keywords if k.arg == "reason"])
            if name_of(node) == "__init__":  # an error class names the reason of its base
                yield from (text for arg in node.args[:2] if (text := text_of(arg)) and CODE.match(text))
        if isinstance(node, ast.Attribute) and node.attr.startswith("ERROR_REASON_"):
            yield node.attr.removeprefix("ERROR_REASON_")
        if isinstance(node, ast.Compare) and getattr(node.left, "attr", "") == "reason":
            for found in ast.walk(node):
                if (text := text_of(found) if isinstance(found, ast.expr) else None) and CODE.match(text):
                    yield text


def decision_codes_in(path: Path, tree: ast.AST) -> Iterator[str]:
    """Codes of reasons, verdicts, refusals and alerts."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name_of(node) not in ERRORS | OTHERS:
            private = name_of(node).startswith("_")
            for arg in node.args[: 2 if private else 1]:
                text = text_of(arg)
                if text and len(text) > 2 and CODE.match(text):
                    yield text
                if isinstance(arg, ast.JoinedStr) and arg.values and (start := text_of(arg.values[0])) in BUILT:
                    yield from BUILT[start]
        if isinstance(node, ast.ClassDef) and re.search(r"Reason|Refus|Unready", node.name):
            yield from (text for line in node.body if isinstance(line, ast.Assign) and (text := text_of(line.value)))
        if isinstance(node, ast.Assign) and path.relative_to(ROOT).as_posix() in CONSTANTS:
            target = getattr(node.targets[0], "id", "")
            if text_of(node.value) == target and CODE.match(target):
                yield target


def trees() -> Iterator[tuple[Path, ast.AST]]:
    for path in sources():
        yield path, ast.parse(path.read_text())


def listed() -> set[str]:
    """Codes of docs/reasons.md: in the first column of a table, or in a sentence."""
    page = (ROOT / "docs" / "reasons.md").read_text()
    return {code for code in re.findall(r"`([A-Z][A-Z0-9_]+)`", page) if CODE.match(code)}


def test_errors_use_only_reasons_of_the_contract() -> None:
    used = {(reason, path.relative_to(ROOT).as_posix()) for path, tree in trees() for reason in error_reasons_in(tree)}
    assert len({reason for reason, _ in used}) > 15
    assert [(reason, path) for reason, path in sorted(used) if reason not in ERROR_REASONS] == []


def test_what_the_database_answers_is_a_reason_of_the_contract() -> None:
    sql = "\n".join(path.read_text() for path in (ROOT / "schema/migrations/versions").glob("*.sql"))
    answers = set(re.findall(r"RETURN '([A-Z_]+)'", sql)) - {"OK"}
    assert answers
    assert answers <= ERROR_REASONS


def test_every_reason_of_a_decision_is_in_the_docs() -> None:
    stages = [
        (path, tree)
        for path, tree in trees()
        if path.parts[len(ROOT.parts)].startswith(("svc_", "exchange", "candle", "modelkit", "training"))
    ]
    given = {code for path, tree in stages for code in decision_codes_in(path, tree)}
    assert len(given) > 80
    assert given - listed() - ERROR_REASONS == set()


def test_the_docs_list_no_reason_that_the_code_does_not_give() -> None:
    texts = "\n".join(path.read_text() for path in sources())
    built = set().union(*BUILT.values())
    # Named as examples: a field rule, and a reason that is the exchange's own.
    examples = {"REQUIRED", "INSUFFICIENT_FUND", "DOWN", "NEUTRAL", "UP", "BUY", "SELL", "HOLD"}
    unknown = {code for code in listed() - built - examples if f'"{code}"' not in texts}
    assert unknown == set()
