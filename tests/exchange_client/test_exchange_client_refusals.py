"""Which refusals of an order stay: of every reason that the simulated exchange gives, and of what nobody knows."""

import pytest

from exchange_client.adapters import ADAPTERS
from exchange_sim import reasons

STAYS = ADAPTERS["coinbase"].refusal_stays
FOR_GOOD = (
    "UNSUPPORTED_CONFIGURATION",
    "INVALID_PRODUCT",
    "BASE_TOO_SMALL",
    "QUOTE_TOO_SMALL",
    "SIZE_PRECISION",
    "PRICE_TOO_FAR",
)
PASSING = ("INSUFFICIENT_FUND", "TRADING_DISABLED", "MARKET_STATE", "NO_PRICE", "BRACKET_PRICES", "TOO_MANY_OPEN")


@pytest.mark.parametrize("name", FOR_GOOD + PASSING)
def test_a_refusal_stays_where_no_other_moment_changes_it(name: str) -> None:
    rejection: reasons.Rejection = getattr(reasons, name)
    assert STAYS(rejection.error) is (name in FOR_GOOD)


@pytest.mark.parametrize("reason", ["", "SOMETHING_NEW", "NOT_SENT", "EXCHANGE_FAILED", "INSUFFICIENT_FUNDS"])
def test_what_nobody_knows_passes(reason: str) -> None:
    assert not STAYS(reason)
