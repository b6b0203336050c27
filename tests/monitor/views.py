"""What the monitor may see, and which alerts come of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from svc_monitor.feeds.exits import Exits
from svc_monitor.feeds.model import Drift, FeatureDrift, Model
from svc_monitor.feeds.pipeline import Pipeline, Stage
from svc_monitor.feeds.reviewer import Reviewer
from svc_monitor.feeds.risk import PortfolioRisk
from svc_monitor.feeds.trading import Trading
from svc_monitor.health import (
    Known,
    ServiceState,
    health_names,
    overview,
)
from svc_monitor.rules import judge
from svc_monitor.seen import Seen
from tradekit import services

NOW = datetime(2025, 3, 1, tzinfo=UTC)


SERVING = Known(ServiceState.SERVING, "", NOW, NOW, 0.0)


def drift(**psi: float) -> Drift:
    """A look at the model, with these features at these indices and the others at rest."""
    levels = ((0.5, "ALARM"), (0.25, "WARNING"), (0.1, "NOTICE"), (0.0, "NONE"))
    found = {"body": 0.01, "rsi_14": 0.02} | psi
    features = tuple(
        FeatureDrift(name, value, next(level for limit, level in levels if value >= limit))
        for name, value in sorted(found.items(), key=lambda one: -one[1])
    )
    return Drift(NOW, 393, features, 0.1, 0.1, 0.1, 0.6, 700, 1.02, 1.05)


def seen(**given) -> Seen:
    """A mesh in which everything is well, but for what is given; `health` changes names."""
    known = {name: SERVING for service in services.SERVICES for name in health_names(service)}
    known |= given.pop("health", {})
    addresses = {service.name: "127.0.0.1:1" for service in services.SERVICES}
    well = Seen(
        services=overview(known, addresses),
        database_up=True,
        bar_seconds=3600,
        pipeline=Pipeline((Stage("signals", 1, (), NOW, 10800.0),), 0, 0, 0, 0, 0, NOW),
        risk=PortfolioRisk(None, None, None, 0.0, 0.0, 0.0, None, 0, (), (), None),
        trading=Trading("ACTIVE"),
        exits=Exits(),
        model=Model("m", True, "", "", "EVIDENCE", 0.1, 0.1, False, None, None, "FLAT_ARRAYS", "", "", False, drift()),
        reviewer=Reviewer("rules", "VETO", "", False, "", 0, 0),
    )
    return replace(well, **given)


def found(view: Seen) -> dict[str, list[str]]:
    return {code: [one.scope for one in findings or ()] for code, findings in judge(view).items() if findings}
