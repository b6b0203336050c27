"""The operator's switch in the database: the one statement that turns it, for the services that may."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekit.states import TradingState

_SET = text("SELECT set_trading_state(:state, :note, :tighten)")


async def set_trading_state(
    connection: AsyncConnection, state: TradingState, note: str, *, only_tighten: bool = False
) -> TradingState:
    """Turns the switch under the account lock and wakes the executors at the commit; `only_tighten` never loosens it. Gives
    what is in force then."""
    found = await connection.execute(_SET, {"state": state.value, "note": note, "tighten": only_tighten})
    return TradingState(found.scalar_one())
