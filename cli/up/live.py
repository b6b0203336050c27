"""What `mesh up --live` looks at, shows and asks before anything is started.

The key must be one that cannot move money out; what is about to be risked is read from the exchange and from the very settings
that the services start with; and somebody must name the portfolio whose money it is.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import typer

from cli.console import escape, out
from cli.effective import settings_of
from cli.exits import CommandFailed, refuse
from cli.faults import in_words
from cli.plan import MeshPlan
from cli.serving_model import examine_model, recorded_champion
from cli.up import live_preview, live_shown
from cli.up.wanted import Wanted
from exchange_client import Account, Exchange, FeeRates, KeyPermissions, Portfolio, open_exchange
from exchange_client.errors import ExchangeRefused
from meshkit.errors import MeshError, Misconfigured
from supervisor.keys import require_private
from svc_bridge.settings import BridgeSettings
from svc_executor.live_key_check import key_faults
from svc_executor.settings import ExecutorSettings
from svc_risk.settings import RiskSettings
from svc_validator.settings import ValidatorSettings
from tradekit import services
from tradekit.units import Price, ProductId

_ADVICE = "look at the network (HTTPS_PROXY), at this machine's clock and at the key; `mesh doctor` checks them"


@dataclass(frozen=True, slots=True)
class LiveAccount:
    """What the exchange says of key and account; `bids` are the best ones, by product."""

    permissions: KeyPermissions
    portfolio: Portfolio
    wallets: Sequence[Account]
    bids: dict[ProductId, Price]
    fees: FeeRates


def go_live(plan: MeshPlan, wanted: Wanted) -> str:
    """The UUID of the confirmed portfolio; empty after a preview. Raises CommandFailed with what to do."""
    try:
        require_private(plan.live_key)
        return asyncio.run(_go_live(plan, wanted))
    except Misconfigured as error:
        raise CommandFailed(error.message, "mend that, then start again") from None
    except MeshError as error:
        raise CommandFailed(error.message, _ADVICE) from None
    except Exception as error:
        failed = in_words(error)
        if failed is None:
            raise
        raise failed from None


async def _go_live(plan: MeshPlan, wanted: Wanted) -> str:
    started = live_shown.Started(
        executor=settings_of(plan, services.EXECUTOR, ExecutorSettings),
        bridge=settings_of(plan, services.BRIDGE, BridgeSettings),
        risk=settings_of(plan, services.RISK, RiskSettings),
        validator=settings_of(plan, services.VALIDATOR, ValidatorSettings),
        model_reviews=bool(plan.inherited.get("OLLAMA_HOST")),
    )
    executor = started.executor
    exchange = await open_exchange(executor.exchange_config())
    try:
        account = await read_account(exchange, executor.products)
        require_known(account.portfolio, wanted.known)
        # Before the first start there is neither a model nor the key that would prove one.
        verdict = await examine_model(plan, await recorded_champion(plan)) if plan.model_folder.exists() else None
        out.print(live_shown.risk_panel(account, started, verdict))
        if wanted.confirm is not None:
            require_named(account.portfolio, wanted.confirm)
        if wanted.preview:
            found = await live_preview.preview_first(exchange, executor, started.bridge.entry_quote_size)
            out.print(live_shown.preview_panel(found))
            return ""
    finally:
        await exchange.close()
    if wanted.confirm is None:
        require_named(account.portfolio, _asked(account.portfolio, ask=wanted.ask))
    return account.portfolio.uuid


async def read_account(exchange: Exchange, products: Sequence[ProductId]) -> LiveAccount:
    """Key and account. Raises CommandFailed for a key that must not be used for real money."""
    permissions = await exchange.key_permissions()
    if faults := key_faults(permissions):
        raise refuse("this key is not used for real money: " + "; ".join(faults))
    return LiveAccount(
        permissions=permissions,
        portfolio=await _portfolio(exchange, permissions),
        wallets=await exchange.accounts(),
        bids=await exchange.best_bids(products),
        fees=await exchange.fee_rates(),
    )


async def _portfolio(exchange: Exchange, permissions: KeyPermissions) -> Portfolio:
    """The key's portfolio; without a name where the exchange tells the key none."""
    uuid = permissions.portfolio_uuid
    try:
        shown = await exchange.portfolios()
    except ExchangeRefused:
        shown = ()
    nameless = Portfolio(uuid, "", permissions.portfolio_type)
    return next((one for one in shown if one.uuid.lower() == uuid.lower()), nameless)


def require_known(portfolio: Portfolio, known: str) -> None:
    """Raises CommandFailed where the folder's ledger is another portfolio's."""
    if known and not _names(portfolio, known):
        raise refuse(
            f"this folder holds the ledger of portfolio {known}, and the key is of {live_shown.named(portfolio)}",
            "use that portfolio's key, or another folder with MESH_HOME",
        )


def require_named(portfolio: Portfolio, typed: str) -> None:
    """Raises CommandFailed unless what was typed is the portfolio's name or UUID."""
    if not _names(portfolio, typed):
        raise refuse(
            f"nothing was started: the key's portfolio is {live_shown.named(portfolio)}, not {typed.strip() or 'nothing'}",
            "name that portfolio with --confirm if its money may be spent, or use the key of the other one",
        )


def _names(portfolio: Portfolio, typed: str) -> bool:
    typed = typed.strip().casefold()
    return typed != "" and typed in (portfolio.name.strip().casefold(), portfolio.uuid.casefold())


def _asked(portfolio: Portfolio, *, ask: bool) -> str:
    if not ask:
        raise refuse(
            f"nothing was started: real money of the portfolio {live_shown.named(portfolio)} would be spent, and there is no "
            "terminal to ask at",
            f'say --confirm "{portfolio.name or portfolio.uuid}" if you mean it',
        )
    out.print(
        f"The money of the portfolio [bold]{escape(live_shown.named(portfolio))}[/] is about to be risked as above."
    )
    return str(typer.prompt("Type the portfolio's name to start", default="", show_default=False))
