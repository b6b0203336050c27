"""What leaves for a bar is what the plain way would have written: records in a real table, messages field by field."""

import json
import math
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select, text

from modelkit.decision import Decisions, SignalReason
from modelkit.features.definition import FEATURE_COUNT, feature_set_hash
from schema.signals import SIGNAL_NUMBERS, shadow_signals, trading_signals
from svc_signal.bars import binary_copy as copy
from svc_signal.bars import store as bar_store
from svc_signal.bars.bar import BarDecisions
from svc_signal.bars.rows import (
    SHADOW_COLUMNS,
    SIGNAL_COLUMNS,
    BarHead,
    number,
    shadow_records,
    signal_ids,
    signal_rows,
    watched_frame,
)
from svc_signal.bars.store import Close
from svc_signal.store import signals_after
from svc_signal.stored_signal import Shared, StoredSignal
from svc_signal.wire_signals import signal_message, signal_messages, stored_frame
from tradekit import wire
from tradekit.bars import utc
from tradekit.states import Profile, SignalSide
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.signal.v1 import signal_service_pb2 as pb

NUMBERS = (0.0, -0.0, 1e-300, 0.1, -1.7976931348623157e308, 3.0)
FLOATS = ("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon")
PRODUCTS = tuple(f"C{number}-USD" for number in range(6))
PRICES = ("0", "0.000000000000000001", "12345678901234567890.5", "7", "1.5", "84000.12")
SIDES = tuple(SignalSide(side) for side in ("BUY", "SELL", "HOLD", "HOLD", "BUY", "SELL"))
HEAD = BarHead(
    run_id="main",
    granularity=3600,
    bar_start=utc(1_700_002_800 - 1_700_002_800 % 3600),
    as_of=utc(1_700_002_800 - 1_700_002_800 % 3600) + timedelta(hours=1),
    model_version="naïve ✓",
    feature_set_hash=feature_set_hash(3600),
    profile=Profile.EXERCISE,
)


def decided(features: Any, ready: Sequence[bool]) -> BarDecisions:
    """A bar of six products; the last one has no probabilities."""
    rng = np.random.default_rng(3)
    known = np.array([True] * 5 + [False])
    unknown = np.where(known, 1.0, np.nan)

    def said(shift: float) -> Decisions:
        return Decisions(
            side=SIDES,
            confidence=rng.random(6) + shift,
            probabilities=rng.random((6, 3)) * unknown[:, None],
            edge=np.array(NUMBERS) * unknown,
            expected_net=np.array(NUMBERS[::-1]) * unknown,
            reasons=tuple((SignalReason.NOT_READY,) if number % 2 else () for number in range(6)),
        )

    sigma = np.array([0.0, 1e-9, 0.5, 2.0, 3.0, 4.0])
    return BarDecisions(PRODUCTS, said(0.0), said(1.0), sigma, features, np.asarray(ready), ())


async def in_pieces(content: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


@pytest.mark.parametrize("block", [copy.BLOCK, 1, 3])
async def test_copied_rows_are_what_was_given(database: Any, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(copy, "BLOCK", block)
    rng = np.random.default_rng(3)
    features = rng.normal(size=(4, FEATURE_COUNT)) * 10.0 ** rng.integers(-200, 200, (4, FEATURE_COUNT))
    present = [True, False, True, True]
    numbers = rng.normal(size=(2, 4))
    moment = utc(1_700_003_600)
    ids = [uuid4() for _ in range(4)]
    words = ["", "BUY", "naïve ✓", "x" * 3000]
    prices = [Decimal("0.000000000000000001"), Decimal("12345678901234567890.5"), Decimal(7), Decimal("-1.50")]
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "CREATE TABLE copied (id uuid, word text, told jsonb, small int, big bigint, at timestamptz, "
                "a float8, b float8, price numeric(38, 18), features float8[])"
            )
        )
        exact = [
            (await connection.execute(text("SELECT numeric_send(CAST(:p AS numeric(38, 18)))"), {"p": p})).scalar_one()
            for p in prices
        ]
        bigs = copy.int8s(range(-(2**62), -(2**62) + 4))
        pairs, arrays = copy.doubles(numbers.T), copy.double_arrays(features, present)
        rows = [
            (
                copy.raw(ids[row].bytes) + copy.text(words[row]) + copy.json(json.dumps([words[row]])),
                copy.int4(-row),
                bigs[row],
                copy.time(moment + timedelta(hours=row)),
                pairs[row],
                copy.raw(exact[row]),
                arrays[row],
            )
            for row in range(4)
        ]
        columns = ("id", "word", "told", "small", "big", "at", "a", "b", "price", "features")
        await bar_store.copy_in(connection, "copied", columns, in_pieces(copy.content(len(columns), rows)))
        await bar_store.copy_in(connection, "copied", columns, in_pieces(copy.content(len(columns), [])))
        stored = (await connection.execute(text("SELECT * FROM copied ORDER BY small DESC"))).all()
    assert [tuple(row) for row in stored] == [
        (
            ids[row],
            words[row],
            [words[row]],
            -row,
            -(2**62) + row,
            moment + timedelta(hours=row),
            numbers[0, row],
            numbers[1, row],
            prices[row],
            features[row].tolist() if present[row] else [],
        )
        for row in range(4)
    ]


@pytest.mark.parametrize("block", [copy.BLOCK, 1, 4])
async def test_a_bar_is_stored_and_told_as_it_was_decided(
    database: Any, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(copy, "BLOCK", block)
    rng = np.random.default_rng(4)
    features = rng.normal(size=(6, FEATURE_COUNT)) * 10.0 ** rng.integers(-200, 200, (6, FEATURE_COUNT))
    features[3] = np.nan
    ready = [True, True, True, False, True, True]
    found = decided(features, ready)
    ids = signal_ids(HEAD, PRODUCTS)
    names = [ids[product] for product in PRODUCTS]
    first = 2**40
    async with database.engine.begin() as connection:
        send = text("SELECT numeric_send(CAST(:p AS numeric(38, 18)))")
        closes = {
            product: Close((await connection.execute(send, {"p": Decimal(price)})).scalar_one(), price)
            for product, price in zip(PRODUCTS, PRICES, strict=True)
        }
        rows = signal_rows(HEAD, found, names, closes, first)
        await bar_store.copy_in(connection, "trading_signals", SIGNAL_COLUMNS, in_pieces(rows))
        await bar_store.copy_in(connection, "trading_signals", SIGNAL_COLUMNS, in_pieces(copy.content(20, [])))
        await bar_store.copy_records(connection, "shadow_signals", SHADOW_COLUMNS, shadow_records(HEAD, found, "other"))
        await bar_store.copy_records(connection, "shadow_signals", SHADOW_COLUMNS, [])
        table = trading_signals
        records = list((await connection.execute(select(table).order_by(table.c.sequence))).mappings())
        shadow = list((await connection.execute(select(shadow_signals))).mappings())
        told = stored_frame(await signals_after(connection, 0, 100))
    said = found.decisions
    for row, one in enumerate(records):
        known = row < 5
        assert (one["signal_id"], one["product_id"], one["sequence"]) == (names[row], PRODUCTS[row], first + row)
        assert one["reference_price"] == Decimal(PRICES[row])
        assert (one["side"], one["run_id"], one["granularity"]) == (SIDES[row], "main", 3600)
        assert (one["bar_start"], one["as_of"], one["profile"]) == (HEAD.bar_start, HEAD.as_of, "EXERCISE")
        assert (one["model_version"], one["feature_set_hash"]) == (HEAD.model_version, HEAD.feature_set_hash)
        assert one["features"] == (features[row].tolist() if ready[row] else [])
        assert [reason["code"] for reason in one["reasons"]] == list(said.reasons[row])
        assert [one[name] for name in FLOATS] == [
            said.confidence[row],
            *(said.probabilities[row] if known else (0.0, 1.0, 0.0)),
            said.edge[row] if known else 0.0,
            said.expected_net[row] if known else 0.0,
            found.sigma[row],
        ]
    assert found.shadow is not None
    assert [
        (row["product_id"], row["side"], row["model_version"], row["p_down"], row["p_neutral"], row["p_up"])
        for row in sorted(shadow, key=lambda row: row["product_id"])
    ] == [(PRODUCTS[row], SIDES[row], "other", *found.shadow.probabilities[row]) for row in range(5)]
    live = watched_frame(HEAD, found, names, closes)
    number(live, first)
    assert live == told
    assert [len(signal.features) for signal in told.batch.signals] == [51, 51, 0, 0, 51, 51]


def stored_row(number: int, side: str) -> dict[str, Any]:
    return {
        "signal_id": str(uuid4()),
        "product_id": f"C{number}-USD",
        "granularity": 3600,
        "bar_start": utc(3600 * number),
        "as_of": utc(3600 * (number + 1)),
        "side": side,
        **{name: NUMBERS[(number + place) % len(NUMBERS)] for place, name in enumerate(FLOATS)},
        "model_version": f"v{number % 2}",
        "feature_set_hash": "h" * 64,
        "profile": ("EVIDENCE", "EXERCISE")[number % 2],
        "sequence": 2**40 + number,
        "reference_price": ("0", "12.5", "0.000000000000000001")[number % 3],
        "reasons": json.dumps([{"code": f"R{number % 3}", "limit": "", "observed": "", "unit": "", "scope": "model"}]),
        "features": [] if number == 5 else np.random.default_rng(number).normal(size=FEATURE_COUNT).tolist(),
    }


def stored(row: dict[str, Any]) -> StoredSignal:
    shared = ("granularity", "bar_start", "as_of", "model_version", "feature_set_hash", "reasons")
    return StoredSignal(
        **{name: row[name] for name in ("signal_id", "product_id", "sequence", "reference_price", "features")},
        numbers=tuple(row[name] for name in SIGNAL_NUMBERS),
        shared=Shared(
            **{name: row[name] for name in shared}, side=SignalSide(row["side"]), profile=Profile(row["profile"])
        ),
    )


def plainly(row: dict[str, Any], with_features: bool) -> pb.Signal:
    return pb.Signal(
        **{name: row[name] for name in (*FLOATS, "signal_id", "product_id", "granularity", "sequence")},
        bar_start_time=wire.timestamp_message(row["bar_start"]),
        as_of=wire.timestamp_message(row["as_of"]),
        side=f"SIGNAL_SIDE_{row['side']}",
        reference_price=decimal_pb2.Decimal(value=row["reference_price"]),
        model_version=row["model_version"],
        feature_set_hash=row["feature_set_hash"],
        profile=f"DECISION_PROFILE_{row['profile']}",
        reasons=[trade_pb2.Reason(**reason) for reason in json.loads(row["reasons"])],
        features=row["features"] if with_features else [],
    )


def test_messages_made_for_a_batch_are_those_made_one_by_one() -> None:
    rows = [stored_row(number, ("BUY", "SELL", "HOLD")[number % 3]) for number in range(9)]
    rows += [{**row, "product_id": "AGAIN-USD", "feature_set_hash": "g" * 64} for row in rows]
    rows += [{**row, "features": [0.0] * FEATURE_COUNT, "sequence": 2**64 - 1} for row in rows[:2]]
    assert list(stored_frame([stored(row) for row in rows]).batch.signals) == [
        plainly(row, row["side"] != "HOLD") for row in rows
    ]
    assert list(signal_messages([stored(row) for row in rows])) == [plainly(row, False) for row in rows]
    assert list(signal_messages([stored(row) for row in rows], whole=True)) == [plainly(row, True) for row in rows]
    for row in rows:
        assert signal_message(stored(row)) == plainly(row, True)


def test_features_travel_as_doubles_without_their_names() -> None:
    """51 doubles behind one head: field 19, the length, and nothing else."""
    row = stored_row(1, "BUY")
    with_features, without = signal_message(stored(row)), signal_message(stored({**row, "features": []}))
    extra = len(with_features.SerializeToString()) - len(without.SerializeToString())
    assert extra == 2 + 2 + 8 * FEATURE_COUNT
    assert struct.pack(f"<{FEATURE_COUNT}d", *row["features"]) in with_features.SerializeToString()


def test_the_sign_of_nothing_is_told() -> None:
    row = {**stored_row(1, "BUY"), "edge": -0.0, "p_up": 0.0}
    told = signal_message(stored(row))
    assert [math.copysign(1.0, value) for value in (told.edge, told.p_up)] == [-1.0, 1.0]


def test_no_signals_are_an_empty_batch() -> None:
    assert list(signal_messages([])) == []
    assert stored_frame([]).WhichOneof("frame") == "batch"


@pytest.mark.parametrize("count", [1, 50, 52])
def test_a_row_of_another_width_is_no_message(count: int) -> None:
    with pytest.raises(ValueError, match="features"):
        signal_message(stored({**stored_row(1, "BUY"), "features": [1.0] * count}))
