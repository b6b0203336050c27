"""Every reason the venue gives for not placing or not cancelling an order, with its wire codes.

A refusal has a code for new orders and one for previews; some exist in the preview list only, and
then the reply carries that one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    preview: str
    new_order: str
    message: str

    @property
    def error(self) -> str:
        return self.new_order or self.preview


UNSUPPORTED_CONFIGURATION = Rejection(
    "PREVIEW_INVALID_ORDER_CONFIG", "UNSUPPORTED_ORDER_CONFIGURATION", "Order configuration is not supported"
)
INVALID_SIDE = Rejection("PREVIEW_INVALID_SIDE", "INVALID_SIDE", "Side must be BUY or SELL")
INVALID_PRODUCT = Rejection("PREVIEW_INVALID_PRODUCT_ID", "INVALID_PRODUCT_ID", "Product is not known")
UNTRADABLE = Rejection("PREVIEW_UNTRADABLE_PRODUCT", "UNTRADABLE_PRODUCT", "Product cannot be traded by this account")
TRADING_DISABLED = Rejection("PREVIEW_TRADING_DISABLED", "ORDER_ENTRY_DISABLED", "Trading is disabled")
MARKET_STATE = Rejection(
    "PREVIEW_NOT_ALLOWED_BY_MARKET_STATE",
    "ORDER_ENTRY_DISABLED",
    "The product's state does not allow this order",
)
NO_PRICE = Rejection(
    "PREVIEW_MISSING_PRODUCT_PRICE_BOOK", "MISSING_MARKET_TRADE_DATA", "No current price for this product"
)
NOT_A_NUMBER = Rejection("PREVIEW_NON_NUMERIC_ORDER_SIZE", "", "Sizes and prices must be plain decimal numbers")
SIZE_PRECISION = Rejection("PREVIEW_INVALID_SIZE_PRECISION", "INVALID_SIZE_PRECISION", "Too many decimals in base_size")
QUOTE_PRECISION = Rejection(
    "PREVIEW_INVALID_QUOTE_SIZE_PRECISION", "INVALID_SIZE_PRECISION", "Too many decimals in quote_size"
)
PRICE_PRECISION = Rejection(
    "PREVIEW_INVALID_PRICE_PRECISION", "INVALID_PRICE_PRECISION", "Too many decimals in limit_price"
)
BASE_TOO_SMALL = Rejection("PREVIEW_INVALID_BASE_SIZE_TOO_SMALL", "", "base_size is below the minimum")
BASE_TOO_LARGE = Rejection("PREVIEW_INVALID_BASE_SIZE_TOO_LARGE", "", "base_size is above the maximum")
QUOTE_TOO_SMALL = Rejection("PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL", "", "Order value is below the minimum")
QUOTE_TOO_LARGE = Rejection("PREVIEW_INVALID_QUOTE_SIZE_TOO_LARGE", "", "Order value is above the maximum")
INVALID_PRICE = Rejection("PREVIEW_INVALID_LIMIT_PRICE", "INVALID_LIMIT_PRICE", "limit_price must be above zero")
PRICE_TOO_FAR = Rejection(
    "PREVIEW_LIMIT_PRICE_TOO_FAR_FROM_MARKET",
    "LIMIT_PRICE_TOO_FAR_FROM_MARKET",
    "limit_price is too far away",
)
POST_ONLY_CROSSES = Rejection(
    "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY",
    "INVALID_LIMIT_PRICE_POST_ONLY",
    "A post-only order may not cross",
)
INVALID_STOP_PRICE = Rejection("PREVIEW_INVALID_STOP_PRICE", "", "The stop's price must be above zero")
NO_STOP_DIRECTION = Rejection(
    "PREVIEW_INVALID_ORDER_CONFIG",
    "UNSUPPORTED_ORDER_CONFIGURATION",
    "stop_direction must be STOP_DIRECTION_STOP_UP or STOP_DIRECTION_STOP_DOWN",
)
STOP_ABOVE_LAST = Rejection(
    "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE", "", "stop_price must be below the last price of a stop that looks down"
)
STOP_BELOW_LAST = Rejection(
    "PREVIEW_STOP_PRICE_BELOW_LAST_TRADE_PRICE", "", "stop_price must be above the last price of a stop that looks up"
)
STOP_ABOVE_LIMIT = Rejection(
    "PREVIEW_STOP_PRICE_ABOVE_LIMIT_PRICE", "", "stop_price must not be above the limit_price of a BUY that looks up"
)
STOP_BELOW_LIMIT = Rejection(
    "PREVIEW_STOP_PRICE_BELOW_LIMIT_PRICE", "", "stop_price must not be below the limit_price of a SELL that looks down"
)
BRACKET_PRICES = Rejection(
    "PREVIEW_INVALID_BRACKET_PRICES",
    "INVALID_BRACKET_PRICES",
    "The market's price must lie between limit_price and stop_trigger_price, the first on the side of the gain",
)
ATTACHED_TAKE_PROFIT = Rejection(
    "PREVIEW_INVALID_ATTACHED_TAKE_PROFIT_PRICE",
    "INVALID_ATTACHED_TAKE_PROFIT_PRICE",
    "The attached limit_price must be above the price that is bought at",
)
ATTACHED_STOP_LOSS = Rejection(
    "PREVIEW_INVALID_ATTACHED_STOP_LOSS_PRICE",
    "INVALID_ATTACHED_STOP_LOSS_PRICE",
    "The attached stop_trigger_price must be below the price that is bought at",
)
UNKNOWN_PREVIEW = Rejection(
    "PREVIEW_INVALID_PREVIEW_ID", "INVALID_REQUEST", "preview_id names no preview of this order"
)
TOO_MANY_OPEN = Rejection(
    "UNKNOWN_PREVIEW_FAILURE_REASON", "COMMANDER_REJECTED_NEW_ORDER", "500 orders of the product are open"
)
NO_END_TIME = Rejection("PREVIEW_GTD_ORDERS_MUST_HAVE_END_TIME", "", "end_time is missing")
BAD_END_TIME = Rejection("PREVIEW_INVALID_END_TIME", "", "end_time is not an RFC 3339 time")
END_TIME_PAST = Rejection("PREVIEW_END_TIME_IS_IN_THE_PAST", "", "end_time is in the past")
INSUFFICIENT_FUND = Rejection(
    "PREVIEW_INSUFFICIENT_FUND", "INSUFFICIENT_FUND", "Insufficient balance in source account"
)

FAILED_LATER = "Rejected after it was accepted"

CANCEL_ACCEPTED = "UNKNOWN_CANCEL_FAILURE_REASON"
CANCEL_UNKNOWN_ORDER = "UNKNOWN_CANCEL_ORDER"
CANCEL_ALREADY_FILLED = "ORDER_IS_FULLY_FILLED"
CANCEL_REPEATED = "DUPLICATE_CANCEL_REQUEST"
CANCEL_NOT_ALLOWED = "NOT_ALLOWED_TO_CANCEL"

EDIT_UNKNOWN_ORDER = "ORDER_NOT_FOUND"
EDIT_NOT_A_LIMIT = "ONLY_LIMIT_ORDER_EDITS_SUPPORTED"
EDIT_DONE = "COMMANDER_REJECTED_EDIT_ORDER"
EDIT_BELOW_FILLED = "CANNOT_EDIT_TO_BELOW_FILLED_SIZE"
EDIT_SIZE = "INVALID_EDITED_SIZE"
EDIT_PRICE = "INVALID_EDITED_PRICE"
