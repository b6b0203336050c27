"""Wrong settings stop the exchange before it opens anything, with every fault named at once."""

from pathlib import Path

import pytest

from exchange_sim.__main__ import main


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
