"""What svc_bridge reads of others: what is held, what the market says of a product, and what a model's labels mean."""

from sqlalchemy import Double, Integer, Text, text

from schema.execution import positions
from schema.market import crypto_prices, products
from schema.views.base import part, view

bridge_positions = view("bridge_positions", part(positions, "product_id base_size cost"))

bridge_products = view("bridge_products", part(products, "product_id base_increment"))

bridge_candles = view(
    "bridge_candles",
    part(crypto_prices, "product_id granularity start close"),
)

# How far the barriers of a model's labels lie, in deviations over the horizon, and how many bars that is.
bridge_model_labels = view(
    "bridge_model_labels",
    text("""
  SELECT model_version, (manifest -> 'label' ->> 'barrier_width')::float8 AS barrier_width,
         (manifest -> 'label' ->> 'horizon_bars')::int AS horizon_bars
  FROM models
""").columns(model_version=Text, barrier_width=Double, horizon_bars=Integer),
)
