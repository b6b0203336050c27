"""Wrong settings stop the exchange before it opens anything, with every fault named at once."""

import json
from pathlib import Path

import pytest

from exchange_sim.__main__ import main
from exchange_sim.fault_plan import BadPlan, follow
from exchange_sim.fault_rules import OF_MESSAGES, Faults
from exchange_sim.habits import Habits


def test_all_faults_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("SIM_STATE_DIR", raising=False)
    for name, value in {"MARKET": "casino", "SPEED": "nan", "TAKER_FEE": "1", "START": "2025-01-01T00:00:00"}.items():
        monkeypatch.setenv(f"SIM_{name}", value)
    assert main() == 2
    faults = capsys.readouterr().err
    for name in ("STATE_DIR", "MARKET", "SPEED", "TAKER_FEE", "START"):
        assert f"SIM_{name}: " in faults


KEY = '[{"name": "k", "public_key": "no PEM", "can_view": true, "can_trade": true, "can_transfer": false}]'


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PRODUCTS", "NOPE-USD", "NOPE-USD is not in the simulated market"),
        ("MARKET", "replay:absent.parquet", "absent.parquet"),
        ("KEYS_FILE", "absent.json", "absent.json"),
        ("KEYS_FILE", KEY, "keys.json"),
        ("KEYS_FILE", "{}]", "keys.json"),
        ("PLAN_FILE", "absent.json", "absent.json"),
    ],
)
def test_what_the_operator_must_mend(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    complaint: str,
) -> None:
    if complaint == "keys.json":
        (tmp_path / "keys.json").write_text(value)
        value = str(tmp_path / "keys.json")
    settings = {"STATE_DIR": str(tmp_path / "state"), "PORT": "0", "HISTORY_DAYS": "1", "PRODUCTS": "BTC-USD"}
    for setting, text in (settings | {name: value}).items():
        monkeypatch.setenv(f"SIM_{setting}", text)
    assert main() == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        ("[]", "no JSON object"),
        ('{"fault": []}', "must be an object of faults, a list, and habits"),
        ('{"faults": {}}', "must be an object of faults, a list, and habits"),
        ('{"faults": [{"kind": "drop"}, {"kind": "ws_gap", "method": "GET"}]}', r"faults\[1\]: method does nothing"),
        ('{"faults": [7]}', r"faults\[0\]: kind must be one of"),
        ('{"habits": {"settle_seconds": -1}}', "habits: settle_seconds must be a number"),
    ],
)
def test_a_plan_that_is_none_is_refused_in_words(tmp_path: Path, plan: str, complaint: str) -> None:
    (tmp_path / "plan.json").write_text(plan)
    with pytest.raises(BadPlan, match=complaint):
        follow(tmp_path / "plan.json", Faults(), Habits())


def test_a_plan_sets_rules_and_habits(tmp_path: Path) -> None:
    plan = {"faults": [{"kind": "ws_gap", "share": 0.5, "seed": 7}], "habits": {"settle_seconds": 5}}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    met = []
    for _ in range(2):
        faults, habits = Faults(), Habits()
        follow(tmp_path / "plan.json", faults, habits)
        met.append([faults.of_socket(OF_MESSAGES, "/", "user") is not None for _ in range(40)])
    assert habits.settle_seconds == 5 and met[0] == met[1] and 0 < sum(met[0]) < 40
