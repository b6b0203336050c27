"""Rows as the exchange sends them: an order that never filled, and a fill without a fee."""

ORDER = {
    "order_id": "x",
    "client_order_id": "c",
    "product_id": "BTC-USD",
    "side": "BUY",
    "status": "PENDING",
    "created_time": "2026-04-07T12:00:00.123456789Z",
    "filled_size": "",
    "filled_value": "",
    "fee": "",
    "settled": False,
    "reject_reason": "REJECT_REASON_UNSPECIFIED",
    "last_fill_time": None,
}
FILL = {
    "entry_id": "e",
    "order_id": "x",
    "product_id": "BTC-USD",
    "side": "BUY",
    "price": "2",
    "size": "1",
    "commission": "",
    "trade_time": "2026-04-07T12:00:00Z",
}
