"""The limit of an entry: never more than was allowed, on the exchange's grid, at the bid or as far from it as was set."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_client import ExchangeOrder, ExchangeProduct, Limit, OrderTerms, SameTerms, Touch
from exchange_client.coinbase.order_body import body_of, same_terms
from meshkit.errors import DeadlineTooShort, InvalidRequest
from svc_executor.entry_order import EntryRules, limit_of
from svc_executor.settings import ExecutorSettings
from tests.executor.issuer import settings_of
from tradekit.states import OrderType, Side

D = Decimal
NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
LIFE = timedelta(seconds=120)
AT_BID = EntryRules(OrderType.LIMIT, D(0))


def product(step: str = "0.01", base_step: str = "0.00000001", **changes: Any) -> ExchangeProduct:
    rules = {
        "base_min_size": D(base_step),
        "base_max_size": D("1e6"),
        "quote_min_size": D(1),
        "quote_max_size": D("1e9"),
    }
    return ExchangeProduct(
        "BTC-USD", "BTC", D(base_step), D("0.01"), D(step), **{**rules, **changes}, status="online", tradable=True
    )


STEPS = st.integers(0, 8).map(lambda digits: str(D(1).scaleb(-digits)))


@given(
    size=st.decimals("1", "100000", places=2),
    bid=st.decimals("0.00001", "200000", places=8).filter(lambda price: price > 0),
    fee=st.decimals("0", "0.05", places=4),
    offset=st.decimals("-0.05", "0.2", places=4),
    step=STEPS,
    base_step=STEPS,
)
def test_an_entry_never_spends_more_than_it_may(
    size: Decimal, bid: Decimal, fee: Decimal, offset: Decimal, step: str, base_step: str
) -> None:
    rules, market = EntryRules(OrderType.LIMIT, offset), product(step, base_step)
    try:
        limit = limit_of(size, Touch(bid, NOW), market, fee, LIFE, rules)
    except InvalidRequest as error:
        (violation,) = error.violations
        assert (violation.field, violation.rule) == ("size", "MIN_SIZE")
        return
    assert limit is not None
    assert limit.price % D(step) == 0 and limit.size % D(base_step) == 0
    assert limit.price <= max(bid * (1 - offset), D(step))
    assert limit.price + D(step) > bid * (1 - offset)
    assert limit.size >= market.base_min_size and limit.size * limit.price >= market.quote_min_size
    # All of it, and not a step more, even where all of it is charged the highest fee.
    assert limit.size * limit.price * (1 + fee) <= size
    assert limit.size == market.base_max_size or (limit.size + D(base_step)) * limit.price * (1 + fee) > size
    assert limit.end_time == NOW + LIFE


def test_a_market_order_needs_no_price_and_has_no_limit() -> None:
    assert limit_of(D(100), Touch(D(100), NOW), product(), D(0), LIFE, EntryRules(OrderType.MARKET, D(0))) is None


def test_what_has_no_time_left_does_not_rest() -> None:
    with pytest.raises(DeadlineTooShort) as refused:
        limit_of(D(100), Touch(D(100), NOW), product(), D(0), timedelta(milliseconds=999), AT_BID)
    assert refused.value.reason == "EXPIRED"


def test_a_limit_becomes_the_order_that_the_exchange_documents() -> None:
    limit = Limit(D("62000.10"), D("0.0015"), NOW + timedelta(seconds=90, milliseconds=700), post_only=True)
    terms = OrderTerms(UUID(int=7), "BTC-USD", Side.BUY, D("100.00"), limit=limit)
    assert json.loads(body_of(terms)) == {
        "client_order_id": str(UUID(int=7)),
        "product_id": "BTC-USD",
        "side": "BUY",
        "order_configuration": {
            "limit_limit_gtd": {
                "base_size": "0.0015",
                "limit_price": "62000.1",
                "end_time": "2025-01-01T12:01:30Z",
                "post_only": True,
            }
        },
    }


@pytest.mark.parametrize(
    ("told", "whose"),
    [
        ({}, SameTerms.OURS),
        ({"base_size": "0.00150", "limit_price": "62000.10"}, SameTerms.OURS),
        ({"limit_price": "62000.11"}, SameTerms.OTHER),
        ({"base_size": "0.0016"}, SameTerms.OTHER),
        ({"limit_price": ""}, SameTerms.UNREADABLE),
    ],
)
def test_an_order_with_a_limit_is_recognised_by_its_size_and_price(told: dict[str, str], whose: SameTerms) -> None:
    terms = OrderTerms(UUID(int=7), "BTC-USD", Side.BUY, D(100), limit=Limit(D("62000.1"), D("0.0015"), NOW, False))
    configuration = json.loads(body_of(terms))["order_configuration"]
    configuration["limit_limit_gtd"] |= told
    found = ExchangeOrder(
        *("x", str(terms.order_id), "BTC-USD", "BUY", configuration, "OPEN", D(0), D(0), D(0)),
        settled=False,
        created_time=NOW,
        reject_reason="",
        message="",
    )
    assert same_terms(terms, found) is whose


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"entry_order": "bracket"}, "is a way out; an entry is ordered as MARKET, LIMIT or POST_ONLY"),
        ({"entry_order": "iceberg"}, "is no kind of order; an entry is ordered as MARKET, LIMIT or POST_ONLY"),
        ({"entry_offset_ratio": "0.01"}, "ENTRY_ORDER=MARKET has none"),
        ({"entry_order": "post_only", "entry_offset_ratio": "-0.01"}, "where POST_ONLY is refused"),
        ({"entry_order": "limit", "entry_offset_ratio": "nan"}, "finite"),
        ({"entry_order": "limit", "entry_offset_ratio": "0.21"}, "less than or equal to 0.2"),
    ],
)
def test_settings_that_contradict_each_other_end_the_start(
    environ: dict[str, str], given: dict[str, str], told: str
) -> None:
    assert isinstance(settings_of(environ), ExecutorSettings)
    with pytest.raises(ValueError, match=told.replace("'", ".").replace("(", ".")):
        settings_of({**environ, **given})
