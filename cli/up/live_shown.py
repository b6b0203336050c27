"""What is about to be risked, and what the exchange says of the first order, as two panels. Pure: figures in, words out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from cli.console import escape
from svc_validator.decision import Plan, plan
from tradekit.decimals import CONTEXT, ZERO, plain
from tradekit.products import base_currency
from tradekit.states import ProtectionMode, ReviewMode

if TYPE_CHECKING:
    from cli.serving_model import ModelVerdict
    from cli.up.live import LiveAccount
    from cli.up.live_preview import FirstOrder
    from exchange_client import Portfolio
    from svc_bridge.settings import BridgeSettings
    from svc_executor.settings import ExecutorSettings
    from svc_risk.settings import RiskSettings
    from svc_validator.settings import ValidatorSettings

# Limits of an amount, shares of equity, and counts, by their names in `svc_risk.parameters.Parameters`.
_AMOUNTS = ("max_order_notional",)
_SHARES = ("daily_loss_ratio", "drawdown_ratio", "heat_cap_ratio", "max_position_ratio", "gross_exposure_ratio")
_COUNTS = ("max_open_positions", "orders_per_minute", "product_orders_per_minute")


def named(portfolio: Portfolio) -> str:
    """A portfolio by its name where it has one, and its UUID."""
    return f"{portfolio.name} ({portfolio.uuid})" if portfolio.name else portfolio.uuid


@dataclass(frozen=True, slots=True)
class Started:
    """The settings that services start with. `model_reviews`: whether a language model is named."""

    executor: ExecutorSettings
    bridge: BridgeSettings
    risk: RiskSettings
    validator: ValidatorSettings
    model_reviews: bool


def risk_panel(account: LiveAccount, started: Started, verdict: ModelVerdict | None) -> Panel:
    """Everything that is about to be risked."""
    lines = risk_lines(account, started, verdict)
    return Panel(_grid(lines), title="REAL MONEY: what is about to be risked", border_style="red", expand=False)


def risk_lines(account: LiveAccount, started: Started, verdict: ModelVerdict | None) -> list[tuple[str, str]]:
    """The same as names and words; limits and sizes are those that the services start with."""
    executor = started.executor
    currency, kind = executor.account_currency, account.portfolio.portfolio_type or account.permissions.portfolio_type
    entry = started.bridge.entry_quote_size
    with localcontext(CONTEXT):
        round_trip = entry * account.fees.taker * 2
    fees = f"taker {_percent(account.fees.taker)}, maker {_percent(account.fees.maker)}"
    return [
        ("portfolio", f"{named(account.portfolio)}{f', type {kind}' if kind else ''}"),
        ("key", "may view and trade, cannot move money out"),
        *_money(account, currency),
        ("products", ", ".join(executor.products)),
        ("new position", f"{plain(entry)} {currency}, fee inside (ENTRY_QUOTE_SIZE)"),
        ("order type", _order_type(executor)),
        *_limits(started.risk, currency, _cash(account, currency)),
        ("protective exits", _exits(executor)),
        (
            "fees",
            f"tier {account.fees.tier or 'not named'}: {fees}; "
            f"in and out of one position about {plain(round_trip)} {currency}",
        ),
        ("model", model_words(verdict)),
        ("review", review_words(started.validator, started.model_reviews)),
        ("profile", executor.decision_profile.value),
    ]


def _money(account: LiveAccount, currency: str) -> list[tuple[str, str]]:
    """Cash, then each coin that is traded here, then how much else there is."""
    found: list[tuple[str, str]] = []
    coins = {base_currency(product): product for product in account.bids}
    others = 0
    for wallet in account.wallets:
        if not wallet.total:
            continue
        amount = f"{plain(wallet.available)} {wallet.currency} free, {plain(wallet.hold)} on hold"
        if wallet.currency == currency:
            found.insert(0, ("money", amount))
        elif wallet.currency in coins:
            with localcontext(CONTEXT):
                worth = wallet.total * account.bids[coins[wallet.currency]]
            found.append(("held", f"{amount}; about {worth:.2f} {currency}. Not the mesh's own until it is adopted"))
        else:
            others += 1
    found += [("held", f"{others} other currencies, which are not traded here")] if others else []
    return found if any(name == "money" for name, _ in found) else [("money", f"no {currency}"), *found]


def _cash(account: LiveAccount, currency: str) -> Decimal:
    with localcontext(CONTEXT):
        return sum((wallet.total for wallet in account.wallets if wallet.currency == currency), ZERO)


def _limits(risk: RiskSettings, currency: str, cash: Decimal) -> list[tuple[str, str]]:
    """The risk engine's limits in its own words; shares of equity also as what they are of the cash there is."""
    parameters = risk.parameters
    words = {name: str(one.metadata["words"]) for name, one in type(parameters).__dataclass_fields__.items()}
    found = [("limit", f"{words[name]}: {plain(getattr(parameters, name))}") for name in _AMOUNTS]
    for name in _SHARES:
        share = getattr(parameters, name)
        with localcontext(CONTEXT):
            amount = share * cash
        found.append(("limit", f"{words[name]}: {plain(share)}, of this cash {amount:.2f} {currency}"))
    return found + [("limit", f"{words[name]}: {getattr(parameters, name)}") for name in _COUNTS]


def _order_type(executor: ExecutorSettings) -> str:
    if not executor.entry_order.rests:
        return f"{executor.entry_order.value}: what cannot be filled at once is cancelled"
    offset = executor.entry_offset_ratio
    where = (
        f"{_percent(abs(offset))} {'below' if offset > 0 else 'above'} the best bid" if offset else "at the best bid"
    )
    return f"{executor.entry_order.value} {where}, rests until its recommendation's life is over"


def _exits(executor: ExecutorSettings) -> str:
    rules = executor.exit_rules
    if rules.mode is ProtectionMode.OFF:
        return "OFF: nothing protects a position (PROTECTIVE_EXITS)"
    where = "rests at the exchange" if rules.mode is ProtectionMode.BRACKET else "is watched by the executor alone"
    parts = [
        f"{rules.mode.value}, {where}: stop {_percent(rules.stop)} below, target {_percent(rules.target)} above the entry"
    ]
    parts += [f"trailing stop {_percent(rules.trailing)}"] if rules.trailing is not None else []
    parts += [f"time limit {rules.time_limit}"] if rules.time_limit is not None else []
    return "; ".join(parts)


def model_words(verdict: ModelVerdict | None) -> str:
    """Which model will decide and what its evidence allows; None before there is one."""
    if verdict is None:
        return "none yet: one is trained on the real candles before the services start"
    if not verdict.usable:
        return f"refused ({verdict.reason}: {verdict.detail}): another is trained before the services start"
    evidence = (
        "no threshold survived the costs, so it says HOLD"
        if verdict.holds
        else f"it buys from an edge of {verdict.theta_buy:g}, which survived the costs on bars it had not seen"
    )
    return f"{verdict.model_version}, trained to {verdict.train_to}: {evidence}"


def review_words(validator: ValidatorSettings, model_reviews: bool) -> str:
    """Whose word an entry needs besides, by the validator's own policy."""
    mode, on_failure = validator.llm_mode, validator.llm_on_failure
    unfit = plan(mode, validator.venue, on_failure, configured=model_reviews, fit=False)
    closed = "every entry is refused (LLM_ON_FAILURE=rules lets the rules decide)"
    if not model_reviews:
        return "by the rules" if unfit is Plan.RULES_DECIDE else f"no language model is named (OLLAMA_HOST): {closed}"
    if mode is ReviewMode.SHADOW:
        return "by the rules; a language model only watches"
    meanwhile = closed if unfit is Plan.REFUSE else "the rules decide"
    return f"by the rules, and a language model may veto; while it does not pass its self-test {meanwhile}"


def preview_panel(found: FirstOrder) -> Panel:
    """The first order and the exchange's word on it."""
    title = "PREVIEW: the first order; nothing was sent"
    return Panel(_grid(preview_lines(found)), title=title, border_style="cyan", expand=False)


def preview_lines(found: FirstOrder) -> list[tuple[str, str]]:
    """The same as names and words."""
    told, product = found.told, found.intent.product_id
    base, _, quote = product.partition("-")
    lines = [("order", found.intent.body)]
    if told.errors:
        lines.append(("exchange", f"would refuse it: {', '.join(told.errors)}"))
    else:
        price = f" at about {plain(told.average_price)}" if told.average_price else ""
        lines += [
            ("exchange", f"would take it: {plain(told.base_size)} {base}{price}, {plain(told.total)} {quote} in all"),
            ("fee", f"{plain(told.fee)} {quote}"),
            (
                "book",
                f"best bid {plain(told.best_bid)}, best ask {plain(told.best_ask)}; slippage {_percent(told.slippage)}",
            ),
        ]
    lines += [("warning", ", ".join(told.warnings))] if told.warnings else []
    return [*lines, ("sent", "nothing: `mesh up --live` without --preview starts trading")]


def _percent(share: Decimal) -> str:
    with localcontext(CONTEXT):
        return f"{plain(share * 100)} %"


def _grid(lines: list[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    last = ""
    for name, text in lines:
        table.add_row(f"[dim]{name if name != last else ''}[/]", escape(text))
        last = name
    return table
