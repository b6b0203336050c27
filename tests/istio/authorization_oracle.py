"""What Istio decides by AuthorizationPolicies, for those of their fields that ours use; any other field is an error.

Written from Istio's documentation and not from the generator: DENY first, then ALLOW; without any ALLOW all is allowed.
"""

from collections.abc import Iterable
from typing import Any

Document = dict[str, Any]


def allowed(documents: Iterable[Document], app: str, port: int, principal: str | None, path: str) -> bool:
    """Whether a call with this path reaches the workload; `principal` is None without a certificate."""
    policies = [one["spec"] for one in documents if one["kind"] == "AuthorizationPolicy" and _selects(one["spec"], app)]
    actions: dict[str, list[bool]] = {"DENY": [], "ALLOW": []}
    for spec in policies:
        _only(spec, "selector", "action", "rules")
        matches = any(_rule_matches(rule, port, principal, path) for rule in spec.get("rules", []))
        actions[spec.get("action", "ALLOW")].append(matches)
    if any(actions["DENY"]):
        return False
    return any(actions["ALLOW"]) or not actions["ALLOW"]


def _selects(spec: Document, app: str) -> bool:
    labels = spec.get("selector", {}).get("matchLabels", {})
    _only(labels, "app")
    return labels.get("app", app) == app


def _rule_matches(rule: Document, port: int, principal: str | None, path: str) -> bool:
    _only(rule, "from", "to")
    sources = [one["source"] for one in rule["from"]] if "from" in rule else [{}]
    operations = [one["operation"] for one in rule["to"]] if "to" in rule else [{}]
    return any(_source_matches(one, principal) for one in sources) and any(
        _operation_matches(one, port, path) for one in operations
    )


def _source_matches(source: Document, principal: str | None) -> bool:
    _only(source, "principals", "notPrincipals")
    return _holds(source.get("principals"), principal) and principal not in source.get("notPrincipals", [])


def _operation_matches(operation: Document, port: int, path: str) -> bool:
    _only(operation, "ports", "paths")
    return _holds(operation.get("ports"), str(port)) and _holds(operation.get("paths"), path)


def _holds(values: list[str] | None, found: str | None) -> bool:
    """Exact, as all of ours are: a `*` would be a pattern."""
    assert not any("*" in value for value in values or ()), values
    return values is None or found in values


def _only(found: Document, *known: str) -> None:
    assert set(found) <= set(known), f"unknown fields: {sorted(set(found) - set(known))}"
