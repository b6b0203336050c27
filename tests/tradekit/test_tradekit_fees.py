"""Which taker fee is reckoned with."""

from decimal import Decimal

import pytest

from meshkit.settings import effective
from tradekit.fees import DEFAULT_TAKER_FEE, reckoned_taker_fee
from tradekit.settings import TradingSettings

LOW, HIGH = Decimal("0.004"), Decimal("0.009")


@pytest.mark.parametrize(
    ("setting", "exchange", "reckoned"),
    [(None, None, DEFAULT_TAKER_FEE), (None, LOW, LOW), (LOW, None, LOW), (LOW, HIGH, HIGH), (HIGH, LOW, HIGH)],
)
def test_unset_follows_the_exchange_and_set_is_the_least(
    setting: Decimal | None, exchange: Decimal | None, reckoned: Decimal
) -> None:
    assert reckoned_taker_fee(setting, exchange) == reckoned


def test_a_setting_that_nobody_made_is_known_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAKER_FEE", raising=False)
    assert TradingSettings(service_name="x", port=0).taker_fee_setting is None
    assert effective(TradingSettings(service_name="x", port=0))["TAKER_FEE"] == "the exchange's"
    monkeypatch.setenv("TAKER_FEE", "0.009")
    assert TradingSettings(service_name="x", port=0).taker_fee_setting == Decimal("0.009")
    assert effective(TradingSettings(service_name="x", port=0))["TAKER_FEE"] == "0.009"
    monkeypatch.setenv("VENUE", "REPLAY")
    assert TradingSettings(service_name="x", port=0).reckoned_taker_fee(Decimal("0.05")) == Decimal("0.009")
