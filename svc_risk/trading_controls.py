"""What an operator does at the risk engine: look at the account, and turn the switch.

Looking takes no lock: one repeatable-read transaction shows one consistent moment. Turning takes the account lock, so
when the call returns no assessment and no commit under the old state is still under way.
"""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.kit import Kit
from schema.requests import once, request_key
from schema.trading_state import set_trading_state
from svc_risk import store
from svc_risk.account_at import read_account_at
from svc_risk.account_state import VolatilityMemory, read_account_state
from svc_risk.known import AccountRow, Moment
from svc_risk.limits import COOLDOWN_ENTRY, COOLDOWN_LOSS
from svc_risk.locks import cooldown_lock, lock_id
from svc_risk.portfolio import Portfolio, portfolio_of
from svc_risk.settings import RiskSettings
from svc_risk.snapshot import Lock
from svc_risk.store import Recent
from svc_risk.wire import StateCall, state_hash, trading_state_number
from tradekit import wire
from tradekit.decimals import to_stored_scale
from trading.risk.v1 import risk_service_pb2 as pb

METHOD = "SetTradingState"


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account as it was at one moment."""

    account: AccountRow
    portfolio: Portfolio


class TradingControls:
    """Serves the operator."""

    def __init__(self, settings: RiskSettings, kit: Kit[RiskSettings]) -> None:
        self._settings = settings
        self._kit = kit
        self._p = settings.parameters
        self._memory = VolatilityMemory()

    async def account(self) -> AccountView:
        """The account's risk now."""
        async with self._kit.engine.connect() as connection:
            connection = await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                account, moment = await store.read_account(connection)
                return AccountView(account, await self._portfolio(connection, account, moment))

    async def _portfolio(self, connection: AsyncConnection, account: AccountRow, moment: Moment) -> Portfolio:
        as_of = moment.market_time or moment.machine_time
        currency, p = self._settings.currency, self._p
        state = await read_account_state(
            connection,
            granularity=self._settings.granularity_seconds,
            as_ofs=[as_of],
            machine_time=moment.machine_time,
            also=(),
            p=p,
            memory=self._memory,
        )
        at = (await read_account_at(connection, [as_of], currency, moment.machine_time))[as_of]
        recent = await store.read_recent(
            connection,
            as_of - timedelta(seconds=p.cooldown_entry_seconds),
            as_of - timedelta(seconds=p.cooldown_loss_seconds),
            moment.machine_time,
        )
        return portfolio_of(
            at.cash,
            state.holdings(as_of),
            account.high_water_mark,
            at.day_open,
            [*at.locks, *self._cooldowns(recent)],
            recent.held_reservations,
            moment.market_time,
            p.charging(self._settings.reckoned_taker_fee(moment.exchange_fee)),
        )

    def _cooldowns(self, recent: Recent) -> list[tuple[UUID, Lock]]:
        """Cooldowns are not stored: they follow from orders. Told as locks, because that is what they do."""
        after_loss, after_entry = self._p.cooldown_loss_seconds, self._p.cooldown_entry_seconds
        found = [cooldown_lock(COOLDOWN_LOSS, product, at, after_loss) for product, at in sorted(recent.losses.items())]
        found += [
            cooldown_lock(COOLDOWN_ENTRY, product, at, after_entry) for product, at in sorted(recent.entries.items())
        ]
        return [(lock_id(lock), lock) for lock in found]

    async def turn_switch(self, call: StateCall) -> pb.SetTradingStateResponse:
        """Sets the trading state; the same request_id gives the stored answer."""
        key = request_key(self._settings.service_name, METHOD, call.request_id, state_hash(call))
        async with self._kit.engine.begin() as connection:
            account = await store.lock_account(connection)

            async def turn() -> pb.SetTradingStateResponse:
                moment = await store.read_moment(connection)
                released = await self._release(connection, account, moment) if call.release_locks else 0
                state = await set_trading_state(connection, call.state, call.note, only_tighten=call.only_tighten)
                return pb.SetTradingStateResponse(
                    state=trading_state_number(state),
                    previous_state=trading_state_number(account.trading_state),
                    released_locks=released,
                    set_time=wire.timestamp_message(moment.machine_time),
                )

            answer, _ = await once(connection, key, pb.SetTradingStateResponse, turn)
        return answer

    async def _release(self, connection: AsyncConnection, account: AccountRow, moment: Moment) -> int:
        """Ends locks that wait for an operator; the high-water mark starts again at the equity of now."""
        portfolio = await self._portfolio(connection, account, moment)
        if account.high_water_mark is not None:
            await store.set_high_water_mark(connection, to_stored_scale(portfolio.account.equity))
        return await store.release_operator_locks(connection, moment.machine_time)
