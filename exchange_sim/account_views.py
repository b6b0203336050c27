"""The venue's JSON shapes of what an account holds: balances, currencies, the portfolio, the fee tier."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import uuid5

from exchange_sim.numbers import EXACT, ZERO, plain
from exchange_sim.orders import Balance, Fill
from exchange_sim.products import Product
from exchange_sim.times import iso
from exchange_sim.views import OWNER, PORTFOLIO_ID, Json, money_name

_OPENED = "2025-01-01T00:00:00Z"


def account_id(currency: str) -> str:
    return str(uuid5(OWNER, f"account/{currency}"))


def account(balance: Balance, fiat: bool) -> Json:
    return {
        "uuid": account_id(balance.currency),
        "name": f"{balance.currency} Wallet",
        "currency": balance.currency,
        "available_balance": {"value": plain(balance.available), "currency": balance.currency},
        "hold": {"value": plain(balance.hold), "currency": balance.currency},
        "default": fiat,
        "active": True,
        "created_at": _OPENED,
        "updated_at": _OPENED,
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_FIAT" if fiat else "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "retail_portfolio_id": PORTFOLIO_ID,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def money(currency: str) -> Json:
    """A currency of the older interface that is no coin."""
    return {"id": currency, "name": money_name(currency), "min_size": "0.01"}


def coin(one: Product, place: int) -> Json:
    """A coin of the older interface; `place` is where it stands in the venue's list."""
    return {
        "asset_id": str(uuid5(OWNER, f"asset/{one.base}")),
        "code": one.base,
        "name": one.base_name,
        "color": "#0052FF",
        "sort_index": place,
        "exponent": 8,
        "type": "crypto",
        "address_regex": "^$",
    }


def older_account(balance: Balance, fiat: bool) -> Json:
    """An account as the older interface shows it: its balance is what is free."""
    uuid, currency = account_id(balance.currency), balance.currency
    return {
        "id": uuid,
        "name": f"{currency} Wallet",
        "primary": fiat,
        "type": "fiat" if fiat else "wallet",
        "currency": {
            "code": currency,
            "name": currency,
            "exponent": 2 if fiat else 8,
            "type": "fiat" if fiat else "crypto",
        },
        "balance": {"amount": plain(balance.available), "currency": currency},
        "created_at": _OPENED,
        "updated_at": _OPENED,
        "resource": "account",
        "resource_path": f"/v2/accounts/{uuid}",
        "allow_deposits": False,
        "allow_withdrawals": False,
    }


def transaction(fill: Fill, currency: str) -> Json:
    """A fill as the older interface shows it in the account of one of its two currencies. The fee is told beside the coins and is
    in neither amount, as at the venue."""
    base, _, quote = fill.product_id.partition("-")
    bought, value = fill.side == "BUY", EXACT.multiply(fill.price, fill.size)
    coins = currency == base
    size, sign = (fill.size if coins else value), "" if bought is coins else "-"
    told: Json = {
        "fill_price": plain(fill.price),
        "order_id": fill.order_id,
        "order_side": fill.side.lower(),
        "product_id": fill.product_id,
    }
    return {
        "id": fill.entry_id,
        "type": "advanced_trade_fill",
        "status": "completed",
        "amount": {"amount": sign + plain(size), "currency": currency},
        "native_amount": {"amount": sign + plain(value), "currency": quote},
        "description": None,
        "created_at": iso(fill.at_us),
        "updated_at": iso(fill.at_us),
        "resource": "transaction",
        "resource_path": f"/v2/accounts/{account_id(currency)}/transactions/{fill.entry_id}",
        "advanced_trade_fill": told | ({"commission": plain(fill.commission)} if coins else {}),
    }


def portfolio() -> Json:
    """The one portfolio of this exchange."""
    return {"name": "Default", "uuid": PORTFOLIO_ID, "type": "DEFAULT", "deleted": False}


def breakdown(balances: Sequence[Balance], values: Mapping[str, Decimal], quotes: Sequence[str]) -> Json:
    """Everything in the portfolio, worth so much in dollars; of what has no price now the worth is nought."""
    worths = {
        one.currency: EXACT.multiply(EXACT.add(one.available, one.hold), values.get(one.currency, ZERO))
        for one in balances
    }
    total = sum(worths.values(), ZERO)
    cash = sum((worth for currency, worth in worths.items() if currency in quotes), ZERO)
    coins = total - cash
    positions = []
    for one in balances:
        worth, fiat = worths[one.currency], one.currency in quotes
        positions.append(
            {
                "asset": one.currency,
                "account_uuid": account_id(one.currency),
                "total_balance_fiat": float(worth),
                "total_balance_crypto": float(EXACT.add(one.available, one.hold)),
                "available_to_trade_fiat": float(EXACT.multiply(one.available, values.get(one.currency, ZERO))),
                "available_to_trade_crypto": float(one.available),
                "allocation": round(float(worth / total), 6) if total else 0,
                "is_cash": fiat,
                "account_type": "ACCOUNT_TYPE_FIAT" if fiat else "ACCOUNT_TYPE_CRYPTO",
            }
        )
    return {
        "portfolio": portfolio(),
        "portfolio_balances": {
            name: {"value": plain(amount), "currency": "USD"}
            for name, amount in (
                ("total_balance", total),
                ("total_cash_equivalent_balance", cash),
                ("total_crypto_balance", coins),
            )
        },
        "spot_positions": positions,
        "perp_positions": [],
        "futures_positions": [],
    }


def fee_tier(taker: Decimal, maker: Decimal) -> Json:
    return {
        "pricing_tier": "Simulated",
        "usd_from": "0",
        "usd_to": "",
        "taker_fee_rate": plain(taker),
        "maker_fee_rate": plain(maker),
        "aop_from": "",
        "aop_to": "",
    }
