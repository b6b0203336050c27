"""Faults of the WebSocket: what a client gets in place of a message or a subscription, and that each one is noted."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from exchange_feed import PATIENCE_SECONDS, ask, farewell, receive

from exchange_sim.fault_rules import OF_MESSAGES, OF_SUBSCRIPTIONS, FaultKind, Faults, Rule
from exchange_sim.socket_faults import Wire
from exchange_sim.times import SECOND_US
from exchange_sim.web import HttpError
from tests.exchange_sim.socket_world import HEARTBEATS, an_exchange, buy, serving

STATUS = {"type": "subscribe", "channel": "status"}
TICKER = {"type": "subscribe", "channel": "ticker", "product_ids": ["BTC-USD"]}


def faults(**rule: Any) -> Faults:
    made = Faults()
    made.add(rule)
    return made


async def texts(opened: Any, count: int) -> list[str]:
    return [(await opened.receive(timeout=PATIENCE_SECONDS)).data for _ in range(count)]


async def told(kind: str, count: int, **rule: Any) -> tuple[list[str], Faults]:
    """The first messages of a client that asks for the state of the market three times, after the fault."""
    ruled = faults(kind=kind, channel="status", count=1, **rule)
    async with serving(an_exchange(), faults=ruled) as (connect, _), connect() as opened:
        for _ in range(3):
            await opened.send_str(json.dumps(STATUS))
        return await texts(opened, count), ruled


def numbers(found: list[str]) -> list[tuple[str, int]]:
    return [(one["channel"], one["sequence_num"]) for one in map(json.loads, found)]


WHOLE = [(name, 2 * pair + at) for pair in range(3) for at, name in enumerate(("subscriptions", "status"))]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ws_gap", [WHOLE[0], *WHOLE[2:]]),
        ("ws_repeat", [*WHOLE[:2], WHOLE[1], *WHOLE[2:]]),
        ("ws_swap", [WHOLE[0], WHOLE[2], WHOLE[1], *WHOLE[3:]]),
        (
            "ws_late",
            [WHOLE[0], ("subscriptions", 1), ("status", 2), ("subscriptions", 3), ("status", 4), ("status", 5)],
        ),
    ],
)
async def test_a_message_is_left_out_repeated_or_swapped(kind: str, expected: list[tuple[str, int]]) -> None:
    # Only of a message that is late: long after all others.
    found, ruled = await told(kind, len(expected), seconds=2)
    assert numbers(found) == expected
    assert ruled.as_json()["met"] == [{"kind": kind, "path": "/", "channel": "status"}]


async def test_a_message_that_is_late_is_numbered_when_it_goes_out() -> None:
    found, ruled = await told("ws_late", len(WHOLE), seconds=0.3)
    assert sorted(one["channel"] for one in map(json.loads, found)) == sorted(name for name, _ in WHOLE)
    assert [number for _, number in numbers(found)] == list(range(len(WHOLE)))
    assert [one["kind"] for one in ruled.as_json()["met"]] == ["ws_late"]  # type: ignore[attr-defined]


async def test_a_message_is_garbage_or_half_of_itself() -> None:
    (_, garbage, after), _ = await told("ws_garbage", 3)
    (_, half, _), _ = await told("ws_truncate", 3)
    for broken in (garbage, half):
        with pytest.raises(json.JSONDecodeError):
            json.loads(broken)
    assert half.startswith('{"channel":"status"') and numbers([after]) == [WHOLE[2]]


@pytest.mark.parametrize("kind", ["ws_drop", "ws_close"])
async def test_a_connection_is_dropped_or_closed(kind: str) -> None:
    ruled = faults(kind=kind, channel="heartbeats")
    async with serving(an_exchange(), faults=ruled) as (connect, _), connect() as opened:
        assert (await ask(opened, HEARTBEATS))["channel"] == "subscriptions"
        if kind == "ws_close":
            assert await farewell(opened) == (1000, "")
        else:
            message = await opened.receive(timeout=PATIENCE_SECONDS)
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


def test_silence_lasts_its_time_and_uses_up_what_is_said_in_it() -> None:
    now = [100.0]
    wire = Wire(lambda: now[0])
    silence = Rule(FaultKind.WS_SILENCE, "", "", "", 1.0, 1, 30.0, None)
    assert [wire.passes("a", None), wire.passes("b", silence), wire.passes("c", None)] == [["a"], [], []]
    now[0] = 129.9
    assert wire.passes("d", None) == []
    now[0] = 130.0
    assert wire.passes("e", None) == ["e"]


async def test_a_connection_stays_open_and_says_nothing_until_the_rule_is_gone() -> None:
    ruled = faults(kind="ws_gap")
    async with serving(an_exchange(), faults=ruled) as (connect, _), connect() as opened:
        await opened.send_str(json.dumps(STATUS))
        await opened.send_str(json.dumps(HEARTBEATS))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any(one["channel"] == "heartbeats" for one in ruled.as_json()["met"]):  # type: ignore[attr-defined]
                await asyncio.sleep(0.01)
        ruled.clear()
        first = await receive(opened)
        assert first["channel"] == "heartbeats" and first["sequence_num"] >= 4


async def test_a_subscription_is_refused_like_one_with_a_bad_token() -> None:
    ruled = faults(kind="ws_refuse", channel="status", count=1)
    async with serving(an_exchange(), faults=ruled) as (connect, _), connect() as opened:
        assert await ask(opened, STATUS) == {"type": "error", "message": "authentication failure"}
        assert (await ask(opened, STATUS))["channel"] == "subscriptions"
    assert ruled.as_json()["met"] == [{"kind": "ws_refuse", "path": "/", "channel": "status"}]


async def test_a_stale_snapshot_is_the_one_before_or_empty() -> None:
    made = an_exchange()
    async with serving(made, faults=faults(kind="ws_stale", channel="ticker", count=1)) as (connect, served):

        async def snapshot() -> Any:
            async with connect() as opened:
                await ask(opened, TICKER)
                return (await receive(opened))["events"]

        assert await snapshot() == [{"type": "snapshot", "tickers": []}]
        first = await snapshot()
        made.advance(made.now_us + 3600 * SECOND_US)
        served._faults._faults.add({"kind": "ws_stale", "count": 1})
        assert await snapshot() == first
        assert await snapshot() != first


async def test_what_no_fault_takes_goes_out_as_it_is() -> None:
    ruled = faults(kind="ws_gap", path="/ws/user")
    ruled.add({"kind": "ws_gap", "channel": "user"})
    ruled.add({"kind": "drop"})
    made = an_exchange()
    async with serving(made, faults=ruled) as (connect, _), connect() as opened:
        buy(made, 1, {"market_market_ioc": {"quote_size": "100"}})
        await opened.send_str(json.dumps(STATUS))
        assert numbers(await texts(opened, 2)) == WHOLE[:2]
    assert ruled.as_json()["met"] == []


def test_a_rule_that_could_do_nothing_is_refused() -> None:
    for kind in FaultKind:
        socket = kind in OF_MESSAGES | OF_SUBSCRIPTIONS
        for field, value in (("method", "GET"), ("channel", "user")):
            if socket is (field == "method"):
                with pytest.raises(HttpError, match=f"{field} does nothing for {kind.value}"):
                    faults(kind=kind.value, **{field: value})
            else:
                assert len(faults(kind=kind.value, **{field: value}).as_json()["rules"]) == 1  # type: ignore[arg-type]
    with pytest.raises(HttpError, match="channel must be one of"):
        faults(kind="ws_gap", channel="prices")
