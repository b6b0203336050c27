"""Recommendations for the validator's tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from modelkit.features.definition import NAMES, feature_set_hash
from svc_validator.self_test import CASES
from tradekit.recommendation import Evidence, Recommendation
from tradekit.states import LifeClock, Origin, Profile, Side

AS_OF = datetime(2025, 3, 1, 12, tzinfo=UTC)
CALM = dict(CASES[0].inputs)


def evidence(inputs: dict[str, float] | None = None, **changed: Any) -> Evidence:
    figures = {**CALM, **(inputs or {})}
    edge = figures["edge"]
    values: dict[str, Any] = {
        "signal_id": UUID(int=7),
        "confidence": 0.5,
        "p_down": 0.3 - edge / 2,
        "p_neutral": 0.4,
        "p_up": 0.3 + edge / 2,
        "edge": edge,
        "expected_net": figures["expected_net"],
        "sigma_horizon": figures["sigma_horizon"],
        "model_version": "m1",
        "feature_set_hash": feature_set_hash(3600),
        "features": tuple(figures.get(name, 0.0) for name in NAMES),
    }
    return Evidence(**{**values, **changed})


def entry(inputs: dict[str, float] | None = None, **changed: Any) -> Recommendation:
    values: dict[str, Any] = {
        "recommendation_id": uuid4(),
        "product_id": "BTC-USD",
        "side": Side.BUY,
        "size": Decimal(100),
        "reference_price": Decimal("84000.12"),
        "as_of": AS_OF,
        "expire_time": datetime.now(UTC) + timedelta(minutes=5),
        "life_clock": LifeClock.MACHINE,
        "origin": Origin.SIGNAL,
        "profile": Profile.EVIDENCE,
        "priority": 0.3,
        "evidence": evidence(inputs),
    }
    return Recommendation(**{**values, **changed})


def operator_entry(**changed: Any) -> Recommendation:
    return entry(**{"origin": Origin.OPERATOR, "evidence": None, "note": "my own recommendation", **changed})
