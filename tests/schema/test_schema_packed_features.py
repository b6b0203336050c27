"""Migration 0015: evidence that names its features becomes evidence that lists them, in the same order."""

import json
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

import schema
from schema.recommendation_rows import evidence_from_json

SCRIPT = Path(schema.__file__).parent / "migrations" / "versions" / "0015_packed_features.sql"
ADD = """
    INSERT INTO trade_recommendations (recommendation_id, run_id, origin, signal_id, product_id, side, size,
      reference_price, as_of, expire_at, life_clock, profile, priority, evidence, sequence)
    VALUES (:id, 'main', 'SIGNAL', :id, 'BTC-USD', 'BUY', 100, 1, now(), now(), 'MACHINE', 'EVIDENCE', 0.5,
      CAST(:evidence AS jsonb), :sequence)
"""
FIGURES = dict.fromkeys(("confidence", "p_down", "p_neutral", "p_up", "edge", "expected_net", "sigma_horizon"), 0.25)
VALUES = [(-1) ** place * 10.0 ** (place - 25) / 3 for place in range(51)]


async def test_names_go_and_values_stay_in_their_order(database):
    named = [[f"f{place}", value] for place, value in enumerate(VALUES)]
    given = [named, VALUES, [], None]
    rows = [
        {
            "id": (name := uuid4()),
            "sequence": sequence,
            "evidence": None
            if features is None
            else json.dumps(
                FIGURES | {"signal_id": str(name), "model_version": "m", "feature_set_hash": "h", "features": features}
            ),
        }
        for sequence, features in enumerate(given, 1)
    ]
    async with database.engine.begin() as connection:
        await connection.execute(text(ADD), rows)
        await connection.exec_driver_sql(SCRIPT.read_text())
        query = text("SELECT evidence FROM trade_recommendations ORDER BY sequence")
        stored = [row.evidence for row in await connection.execute(query)]
    # JSON keeps a whole number as an int.
    packed = [one and [float(value) for value in one["features"]] for one in stored]
    assert packed == [VALUES, VALUES, [], None]
    assert evidence_from_json(stored[0]) == evidence_from_json(stored[1] | {"signal_id": stored[0]["signal_id"]})
