"""What svc_bridge reads of others: what is held, and what the market says of a product."""

from schema.execution import positions
from schema.market import crypto_prices, products
from schema.views.base import part, view

bridge_positions = view("bridge_positions", part(positions, "product_id base_size cost"))

bridge_products = view("bridge_products", part(products, "product_id base_increment"))

bridge_candles = view(
    "bridge_candles",
    part(crypto_prices, "product_id granularity start close"),
)
