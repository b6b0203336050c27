"""What is asked for every few seconds is found by an index: none of it reads a table whole."""

from typing import Any

from sqlalchemy import text

ROWS = 20_000
FILL = f"""
    INSERT INTO orders (order_id, recommendation_id, reservation_id, request_hash, product_id, side, base_size, body, state,
                        filled_size, venue, ticket_id, as_of, reference_price, expire_at, sequence, created_at, updated_at,
                        adopted_at, purpose)
    SELECT gen_random_uuid(), CASE WHEN n % 100 > 0 THEN gen_random_uuid() END, gen_random_uuid(), 'x',
           'P' || n % 20 || '-USD', 'SELL', 1, '{{}}', 'FILLED', 1, 'SIMULATED', 't', at, 1, at, n, at, at,
           CASE WHEN n % 1000 = 0 THEN at END, CASE WHEN n % 100 > 0 THEN 'EXIT' ELSE 'CLOSE' END
    FROM (SELECT n, now() - n * interval '5 minutes' AS at FROM generate_series(1, {ROWS}) n) AS made;
    INSERT INTO fills SELECT order_id::text, order_id, 't', product_id, side, 1, 1, 0, 'TAKER', 0, as_of, as_of, created_at
    FROM orders;
    INSERT INTO reconciliations (clean, orders_checked, orders_settled, orders_unknown, balances, created_at)
    SELECT true, 0, 0, 0, '[]', now() - n * interval '30 seconds' FROM generate_series(1, {ROWS}) n;
    INSERT INTO trade_recommendations (recommendation_id, run_id, origin, request_id, product_id, side, size, reference_price,
                                       as_of, expire_at, life_clock, profile, priority, note, state, sequence)
    SELECT recommendation_id, 'main', 'OPERATOR', gen_random_uuid(), product_id, side, 1, 1, as_of, as_of, 'MACHINE',
           'EVIDENCE', 1, '', 'EXECUTED', sequence FROM orders WHERE recommendation_id IS NOT NULL;
    INSERT INTO positions SELECT 'P' || n || '-USD', 1, 1, 0, 0 FROM generate_series(1, 3) n;
"""
GROWING = {"orders", "fills", "reconciliations", "trade_recommendations"}
POLLED = {
    "SELECT * FROM monitor_order_alarms": "ix_orders_adopted",
    "SELECT * FROM orchestrator_orders WHERE updated_at > now() - interval '2 days'": "ix_orders_updated_at",
    "SELECT * FROM fills WHERE created_at > now() - interval '1 day'": "ix_fills_created_at",
    "DELETE FROM reconciliations WHERE created_at < now() - interval '6.93 days'": "ix_reconciliations_created_at",
    "SELECT * FROM monitor_failed_exits": "ix_trade_recommendations_product_as_of",
    "SELECT * FROM monitor_open_closes": "ix_orders_open",
    "SELECT * FROM monitor_failed_closes": "ix_orders_closes",
    "SELECT * FROM monitor_unknown_orders": "ix_orders_open",
    "SELECT * FROM monitor_unprotected_positions": "ix_orders_open",
}


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in _nodes(part))]


async def test_what_is_polled_scans_no_growing_table(database):
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        for statement in (*FILL.strip().rstrip(";").split(";"), "ANALYZE"):
            await connection.execute(text(statement))
        for query, index in POLLED.items():
            (found,) = (await connection.execute(text(f"EXPLAIN (FORMAT JSON) {query}"))).scalar_one()
            nodes = _nodes(found["Plan"])
            scanned = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
            assert not scanned & GROWING, (query, found)
            assert index in {node.get("Index Name") for node in nodes}, (query, found)
