"""Which of Coinbase's refusals of a new order stay: another try of the same order would be refused in the same way.

Every other refusal passes, or may: coins on hold come free, a market that is closed for orders opens, a fault is mended. A
reason that is not known here counts as one that passes, so whoever tries again does so at a pace that can go on for ever.
"""

# Of NewOrderFailureReason and PreviewFailureReason, without the prefix of the latter. INVALID_BRACKET_PRICES is not among them:
# it compares the two prices with the market's, which moves. ORDER_ENTRY_DISABLED, INSUFFICIENT_FUND and UNTRADABLE_PRODUCT
# are states of the product or the account.
_STAYS = frozenset(
    {
        "UNSUPPORTED_ORDER_CONFIGURATION",
        "INVALID_ORDER_CONFIG",
        "INVALID_ORDER_TYPE_FOR_PRODUCT",
        "INVALID_REQUEST",
        "INVALID_SIDE",
        "INVALID_PRODUCT_ID",
        "INELIGIBLE_PAIR",
        "NON_NUMERIC_ORDER_SIZE",
        "INVALID_SIZE_PRECISION",
        "INVALID_BASE_SIZE_TOO_SMALL",
        "INVALID_BASE_SIZE_TOO_LARGE",
        "INVALID_QUOTE_SIZE_TOO_SMALL",
        "INVALID_QUOTE_SIZE_TOO_LARGE",
        "INVALID_PRICE_PRECISION",
        "INVALID_LIMIT_PRICE",
        "INVALID_STOP_PRICE",
        "LIMIT_PRICE_TOO_FAR_FROM_MARKET",
        "STOP_PRICE_ABOVE_LIMIT_PRICE",
        "STOP_PRICE_BELOW_LIMIT_PRICE",
    }
)


def stays(reason: str) -> bool:
    """Whether a refusal with this reason is for good."""
    return reason.removeprefix("PREVIEW_") in _STAYS
