"""What svc_orchestrator reads of others: orders, which decide how a recommendation ends, and every stage's rows for the
funnel and for the story of a recommendation."""

from schema.execution import fills, orders
from schema.market import candle_counts, crypto_prices
from schema.recommendations import llm_validation, signal_outcomes
from schema.risk import risk_assessments
from schema.signals import trading_signals
from schema.views.base import part, view

orchestrator_candles = view("orchestrator_candles", part(crypto_prices, "source start"))

orchestrator_candle_counts = view("orchestrator_candle_counts", part(candle_counts, "source candles"))

orchestrator_signals = view(
    "orchestrator_signals",
    part(
        trading_signals,
        "signal_id product_id bar_start as_of side confidence p_down p_neutral p_up edge expected_net "
        "sigma_horizon reference_price model_version profile feature_set_hash features reasons created_at",
    ),
)

orchestrator_signal_outcomes = view(
    "orchestrator_signal_outcomes",
    part(signal_outcomes, "signal_id outcome reasons recommendation_id as_of created_at"),
)

orchestrator_validations = view(
    "orchestrator_validations",
    part(
        llm_validation,
        "review_id recommendation_id reviewer outcome enforced mode reasons model model_digest latency_ms "
        "error created_at",
    ),
)

orchestrator_assessments = view(
    "orchestrator_assessments",
    part(
        risk_assessments,
        "recommendation_id attempt side decision requested_size adjusted_size score parts sigma_14d "
        "heat_before heat_after exposure_before exposure_after equity reasons limits_version as_of created_at",
    ),
)

orchestrator_orders = view(
    "orchestrator_orders",
    part(
        orders,
        "order_id recommendation_id product_id side quote_size base_size state exchange_order_id filled_size "
        "filled_value total_fees reasons venue ticket_id send_count note as_of created_at updated_at purpose order_type "
        "entry_order_id stop_price target_price exit_time trigger limit_price end_time",
    ),
)

orchestrator_fills = view(
    "orchestrator_fills",
    part(fills, "fill_id order_id trade_id side price size commission liquidity realized_pnl trade_time as_of"),
)
