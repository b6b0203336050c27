"""What leaves in a hurry is what the plain way would have written: COPY fields in a real table, messages field by field."""

import json
import math
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text

from modelkit.features.definition import FEATURE_COUNT, NAMES
from svc_signal.bars import binary_copy as copy
from svc_signal.bars import store as bar_store
from svc_signal.wire_signals import frame, signal_message, signal_messages, stored_frame
from tradekit import wire
from tradekit.bars import utc
from trading.common.v1 import decimal_pb2, trade_pb2
from trading.signal.v1 import signal_service_pb2 as pb

NUMBERS = (0.0, -0.0, 1e-300, 0.1, -1.7976931348623157e308, 3.0)


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


FLOATS = ("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon")


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
        features=[trade_pb2.FeatureValue(name=n, value=v) for n, v in zip(NAMES, row["features"], strict=False)]
        if with_features
        else [],
    )


def test_messages_laid_out_as_bytes_are_those_made_one_by_one() -> None:
    rows = [stored_row(number, ("BUY", "SELL", "HOLD")[number % 3]) for number in range(9)]
    rows += [{**row, "product_id": "AGAIN-USD", "feature_set_hash": "g" * 64} for row in rows]
    rows += [{**row, "features": [0.0] * FEATURE_COUNT, "sequence": 2**64 - 1} for row in rows[:2]]
    rows += [{**rows[0], "sequence": sequence} for sequence in (1, 127, 128, 16_383, 16_384)]
    told = pb.WatchSignalsResponse.FromString(stored_frame(rows))
    assert list(told.batch.signals) == [plainly(row, row["side"] != "HOLD") for row in rows]
    assert list(signal_messages(rows)) == [plainly(row, False) for row in rows]
    assert list(signal_messages(rows, whole=True)) == [plainly(row, True) for row in rows]
    for row in rows:
        assert signal_message(row) == plainly(row, True)


def test_the_sign_of_nothing_is_told() -> None:
    row = {**stored_row(1, "BUY"), "edge": -0.0, "p_up": 0.0}
    told = signal_message(row)
    assert [math.copysign(1.0, value) for value in (told.edge, told.p_up)] == [-1.0, 1.0]


def test_no_signals_are_an_empty_batch() -> None:
    assert list(signal_messages([])) == []
    assert pb.WatchSignalsResponse.FromString(frame([])).WhichOneof("frame") == "batch"
    assert pb.WatchSignalsResponse.FromString(stored_frame([])).WhichOneof("frame") == "batch"


@pytest.mark.parametrize("count", [1, 50, 52])
def test_a_row_of_another_width_is_no_message(count: int) -> None:
    with pytest.raises(ValueError, match="shape"):
        signal_message({**stored_row(1, "BUY"), "features": [1.0] * count})
