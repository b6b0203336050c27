"""Alerts: the state machine as properties, and each rule by what makes it speak, be silent, or not know."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import count
from math import inf
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from svc_monitor.alerts import ActiveAlerts, Alert, Finding, Severity, acknowledged, adopt, advance
from svc_monitor.feeds.exits import Exits, UnknownOrder
from svc_monitor.feeds.match import AccountMatch
from svc_monitor.feeds.reviewer import Reviewer
from svc_monitor.feeds.risk import Lock
from svc_monitor.feeds.trading import Trading
from svc_monitor.health import (
    FEEDS_NAME,
    STARTUP_SECONDS,
    Known,
    ServiceState,
    answered,
    health_names,
    listened,
    overview,
    refused,
    starting,
)
from svc_monitor.rules import RULES, judge
from tests.monitor.views import NOW, SERVING, drift, found, seen
from tradekit import services
from tradekit.ledger_words import LedgerWords
from tradekit.three_way_match import Check

CODES = ("A", "B")
SCOPES = ("x", "y")

looks = st.lists(
    st.fixed_dictionaries({code: st.one_of(st.none(), st.frozensets(st.sampled_from(SCOPES))) for code in CODES}),
    max_size=25,
)


def finding(code: str, scope: str = "x", hold: float = 0.0, message: str = "m") -> Finding:
    return Finding(code, scope, Severity.WARNING, message, hold)


def ids():
    numbers = count(1)
    return lambda: UUID(int=next(numbers))


@settings(deadline=None)
@given(looks, st.sampled_from([0.0, 2.0]))
def test_each_thing_is_raised_once_and_only_while_true(history, hold):
    active, new_id = ActiveAlerts(), ids()
    in_force: dict[tuple[str, str], UUID] = {}
    true_since: dict[tuple[str, str], int] = {}
    for second, look in enumerate(history):
        verdicts = {
            code: None if scopes is None else tuple(finding(code, scope, hold) for scope in scopes)
            for code, scopes in look.items()
        }
        before = dict(in_force)
        active, changed = advance(active, verdicts, NOW + timedelta(seconds=second), float(second), new_id)
        for alert in changed:
            if alert.resolved_at is None:
                assert alert.key not in in_force, "raised twice"
                in_force[alert.key] = alert.alert_id
            else:
                assert in_force.pop(alert.key) == alert.alert_id, "resolved what was not raised"
        assert {key: alert.alert_id for key, alert in active.raised.items()} == in_force
        for code in CODES:
            for scope in SCOPES:
                key, scopes = (code, scope), look[code]
                if scopes is None:
                    assert (key in in_force) == (key in before), "not knowing changes nothing"
                elif scope not in scopes:
                    true_since.pop(key, None)
                    assert key not in in_force
                else:
                    since = true_since.setdefault(key, second)
                    assert (key in in_force) == (key in before or second - since >= hold)


def test_new_words_change_the_alert_and_not_its_identity():
    active, raised = advance(ActiveAlerts(), {"A": (finding("A"),)}, NOW, 0.0, ids())
    active, changed = advance(active, {"A": (finding("A", message="worse"),)}, NOW, 1.0, ids())
    assert [(alert.alert_id, alert.message) for alert in changed] == [(raised[0].alert_id, "worse")]
    assert advance(active, {"A": (finding("A", message="worse"),)}, NOW, 2.0, ids())[1] == ()


def test_an_adopted_alert_is_the_stored_one_and_resolves():
    stored = Alert(UUID(int=99), "A", "x", Severity.WARNING, "m", NOW)
    active, _ = advance(ActiveAlerts(), {"A": (finding("A"),)}, NOW, 0.0, ids())
    active = adopt(active, (stored,))
    assert [alert.alert_id for alert in active.raised.values()] == [UUID(int=99)]
    told = replace(stored, acknowledged_at=NOW, acknowledged_by="operator")
    assert acknowledged(active, told).raised["A", "x"].acknowledged_by == "operator"
    assert acknowledged(active, replace(told, alert_id=UUID(int=1))) == active
    active, changed = advance(active, {"A": ()}, NOW, 1.0, ids())
    assert (changed[0].alert_id, changed[0].resolved_at) == (UUID(int=99), NOW)


def test_silence_is_not_health():
    known = answered(Known(), ServiceState.SERVING, "", NOW, 10.0)
    assert listened(known, 12.0, NOW, 22.0).state is ServiceState.SERVING
    assert listened(known, 12.0, NOW, 22.1).state is ServiceState.UNKNOWN
    gone = refused(known, "nobody", NOW + timedelta(seconds=1))
    assert (gone.state, gone.changed_at, gone.seen_at) == (ServiceState.UNREACHABLE, NOW + timedelta(seconds=1), NOW)
    assert refused(gone, "nobody", NOW + timedelta(seconds=9)).changed_at == gone.changed_at


def test_nothing_is_raised_when_all_is_well():
    assert found(seen()) == {}


def test_a_service_that_is_down_is_not_also_closed():
    name, entries = health_names(services.RISK)
    down = Known(ServiceState.UNREACHABLE, "nobody", NOW, NOW, 0.0)
    assert found(seen(health={name: down, entries: down})) == {"SERVICE_DOWN": ["service:risk"]}
    closed = Known(ServiceState.NOT_SERVING, "", NOW, NOW, 0.0)
    assert found(seen(health={entries: closed})) == {"ENTRIES_CLOSED": ["service:risk"]}


def test_a_service_that_never_served_is_no_outage_while_the_mesh_comes_up():
    name, entries = health_names(services.EXECUTOR)
    served = replace(SERVING, served_steady=5.0)
    young = answered(Known(), ServiceState.NOT_SERVING, "it says NOT_SERVING", NOW, 6.0)
    coming_up = seen(health={name: young, entries: young}, starting=True)
    assert judge(coming_up)["SERVICE_DOWN"][0].hold_seconds == inf
    fallen = seen(health={name: replace(served, state=ServiceState.UNREACHABLE)}, starting=True)
    assert judge(fallen)["SERVICE_DOWN"][0].hold_seconds == 3.0
    assert judge(replace(coming_up, starting=False))["SERVICE_DOWN"][0].hold_seconds == 3.0
    closed = seen(health={entries: young}, starting=True)
    for code in ("ENTRIES_CLOSED", "LEDGER_MISMATCH"):
        assert judge(closed)[code][0].hold_seconds == inf
        assert judge(replace(closed, starting=False))[code][0].hold_seconds == 10.0
    active, raised = advance(ActiveAlerts(), judge(coming_up), NOW, 0.0, ids())
    active, raised = advance(active, judge(coming_up), NOW, 500.0, ids())
    assert raised == ()
    active, raised = advance(active, judge(replace(coming_up, starting=False)), NOW, 501.0, ids())
    assert [alert.code for alert in raised] == ["SERVICE_DOWN"]


def test_a_mesh_comes_up_as_long_as_one_after_the_other_begins_to_serve():
    names = [name for service in services.SERVICES for name in health_names(service)]
    addresses = {service.name: "127.0.0.1:1" for service in services.SERVICES}
    known: dict[str, Known] = {}
    for number, name in enumerate(names):
        steady = (STARTUP_SECONDS - 1.0) * number
        known[name] = answered(Known(), ServiceState.SERVING, "", NOW, steady)
        last = number == len(names) - 1
        assert starting(overview(known, addresses), steady + STARTUP_SECONDS - 1.0) is not last
        assert not starting(overview(known, addresses), steady + STARTUP_SECONDS)
    again = answered(known[names[0]], ServiceState.SERVING, "", NOW, 9e9)
    assert again.served_steady == 0.0


def test_the_model_that_moved_that_holds_and_that_was_refused():
    calm = seen()

    def told(code: str, **changes) -> list[tuple[Severity, str]]:
        findings = judge(replace(calm, model=replace(calm.model, **changes)))[code]
        return [(finding.severity, finding.message) for finding in findings]

    assert told("MODEL_DRIFT", drift=None) == told("MODEL_DRIFT", drift=drift(natr_14=0.2499)) == []
    ((severity, words),) = told("MODEL_DRIFT", drift=drift(natr_14=0.3, ret_168=0.26))
    assert severity is Severity.WARNING and "2 of 4 features" in words and "natr_14 0.30, ret_168 0.26." in words
    assert "mesh train" not in words
    many = dict.fromkeys(("a", "b", "c", "d", "e"), 0.3)
    ((severity, words),) = told("MODEL_DRIFT", drift=drift(beta_168=0.5, **many))
    assert severity is Severity.CRITICAL and "beta_168 0.50, a 0.30, b 0.30, c 0.30, …" in words
    assert "mesh train" in words

    ((severity, words),) = told("MODEL_SUSPENDED", suspended=True)
    assert severity is Severity.CRITICAL and "1.020 against 1.050" in words and "every signal is HOLD" in words
    ((severity, words),) = told("MODEL_SUSPENDED", suspended=True, profile="EXERCISE")
    assert severity is Severity.WARNING and "HOLD" not in words

    ((severity, words),) = told("MODEL_REFUSED", refusal_code="HASH_MISMATCH", refusal_detail="the sha256 is 00")
    assert severity is Severity.WARNING and "HASH_MISMATCH: the sha256 is 00" in words and "m goes on" in words
    assert told("MODEL_REFUSED", loaded=False, refusal_code="NO_MODEL") == []


def test_closed_entries_of_the_executor_mean_that_its_ledger_is_in_doubt():
    name, entries = health_names(services.EXECUTOR)
    closed = Known(ServiceState.NOT_SERVING, "", NOW, NOW, 0.0)
    assert found(seen(health={entries: closed}))["LEDGER_MISMATCH"] == ["account"]
    assert judge(seen(health={name: closed, entries: closed}))["LEDGER_MISMATCH"] is None


def test_a_silent_feed_is_told_and_ends_and_an_executor_without_feeds_has_none():
    name, _ = health_names(services.EXECUTOR)
    silent = Known(ServiceState.NOT_SERVING, "", NOW, NOW, 0.0, served_steady=1.0)
    assert found(seen(health={FEEDS_NAME: silent})) == {"FEED_SILENT": ["executor"]}
    assert found(seen(health={FEEDS_NAME: SERVING})) == found(seen(health={FEEDS_NAME: Known()})) == {}
    assert judge(seen(health={name: silent, FEEDS_NAME: silent}))["FEED_SILENT"] is None
    assert (
        judge(seen(health={FEEDS_NAME: Known(ServiceState.NOT_SERVING)}, starting=True))["FEED_SILENT"][0].hold_seconds
        == inf
    )


def test_orders_lag_halt_locks_model_reviewer_and_database():
    calm = seen()
    late = replace(calm.pipeline, stages=(replace(calm.pipeline.stages[0], lag_seconds=10801.0),))
    locks = (Lock("DAILY_LOSS", "account", NOW, "", ""), Lock("DRAWDOWN", "account", None, "", ""))
    unfit = Reviewer("rules", "VETO", "qwen3:8b", False, "2 of 5", 5, 2)
    unknown = Exits(unknown=(UnknownOrder("o-1", "BTC-USD", "BUY"),))
    assert found(replace(calm, exits=unknown)) == {"ORDER_UNKNOWN": ["account"]}
    assert found(replace(calm, pipeline=late)) == {"STAGE_LAGGING": ["stage:signals"]}
    assert found(replace(calm, trading=Trading("HALTED"))) == {"TRADING_HALTED": ["account"]}
    assert found(replace(calm, trading=Trading("HALTED", kept=False))) == {
        "TRADING_HALTED": ["account"], "HALT_NOT_KEPT": ["account"],
    }  # fmt: skip
    assert found(replace(calm, risk=replace(calm.risk, locks=locks))) == {
        "RISK_LOCK": ["account/DAILY_LOSS", "account/DRAWDOWN"]
    }
    cooldown = (Lock("COOLDOWN_ENTRY", "product:BTC-USD", NOW, "", ""),)
    assert found(replace(calm, risk=replace(calm.risk, locks=cooldown))) == {}
    assert found(replace(calm, model=replace(calm.model, loaded=False))) == {"MODEL_ABSENT": ["model"]}
    assert found(replace(calm, reviewer=unfit)) == {"REVIEWER_UNFIT": ["model"]}
    assert found(replace(calm, reviewer=replace(unfit, fit=True))) == {}
    assert found(replace(calm, database_up=False)) == {"DATABASE_DOWN": ["database"]}


def test_a_rule_whose_source_is_silent_does_not_know():
    blind = {code for code, verdict in judge(seen(pipeline=None, risk=None, trading=None, exits=None, model=None,
             reviewer=None)).items() if verdict is None}  # fmt: skip
    assert blind == {
        "ORDER_UNKNOWN", "EXIT_WAITING", "EXIT_FAILED", "UNPROTECTED_POSITION", "CONTRACT_VIOLATION",
        "ORDER_ADOPTED", "ORDER_NOT_SETTLED", "CLIENT_ORDER_ID_TAKEN", "STAGE_LAGGING", "TRADING_HALTED", "HALT_NOT_KEPT",
        "RISK_LOCK", "MODEL_ABSENT", "MODEL_REFUSED", "MODEL_SUSPENDED", "MODEL_DRIFT", "REVIEWER_UNFIT",
        "FOREIGN_ORDER", "FEE_TIER_DIFFERS", "FILLS_MISMATCH",
    }  # fmt: skip
    assert blind < RULES.keys()


def test_a_difference_is_told_with_currency_amount_and_order() -> None:
    _, entries = health_names(services.EXECUTOR)
    closed = replace(SERVING, state=ServiceState.NOT_SERVING)
    words = LedgerWords(
        ("USD: the exchange has 5, 5 more than the ledger's 0",), ("SELL BTC-USD abc",), (), (), True, ("abc",)
    )
    verdicts = judge(seen(health={entries: closed}, ledger=words))
    (mismatch,) = verdicts["LEDGER_MISMATCH"] or ()
    assert "USD: the exchange has 5, 5 more" in mismatch.message
    assert "SELL BTC-USD abc" in mismatch.message
    assert [one.scope for one in verdicts["FOREIGN_ORDER"] or ()] == ["order:abc"]
    assert judge(seen())["FOREIGN_ORDER"] is None
    fees = replace(words, fees=("TAKER_FEE is 0.004, the exchange charges 0.006; reckoned with 0.006",))
    assert "0.006" in (judge(seen(ledger=fees))["FEE_TIER_DIFFERS"] or ())[0].message


def test_a_start_that_is_not_reconciled_is_told_as_one_and_not_as_an_operators_halt() -> None:
    held = Trading("REDUCING", "LIVE_START: real money", reason="LIVE_START")
    words = LedgerWords(("USD: the exchange has 5, 5 more than the ledger's 0",), (), (), (), True)
    (finding,) = judge(seen(trading=held, ledger=words))["TRADING_HALTED"] or ()
    assert "USD: the exchange has 5" in finding.message and "ends by itself" in finding.message
    assert "mesh resume" not in finding.message and finding.hold_seconds > 0
    assert "`mesh resume`" in (judge(seen(trading=Trading("REDUCING")))["TRADING_HALTED"] or ())[0].message


def test_a_ledger_that_its_fills_do_not_make_is_told_with_product_and_amounts() -> None:
    wrong = Check("realised BTC-USD, USD", Decimal("12.5"), Decimal(13))
    (finding,) = judge(seen(match=AccountMatch(from_fills=(wrong,))))["FILLS_MISMATCH"] or ()
    assert "realised BTC-USD, USD: 12.5 by fills, 13 by the ledger" in finding.message
    assert (finding.severity, finding.scope) == (Severity.CRITICAL, "account")
    # What only the exchange has otherwise is the reconciliation's to tell.
    at_exchange = Check("BTC", Decimal(1), Decimal(1), Decimal(2))
    assert judge(seen(match=AccountMatch(from_exchange=(at_exchange,))))["FILLS_MISMATCH"] == ()
    assert judge(seen(match=AccountMatch()))["FILLS_MISMATCH"] == ()
