"""The operator's switch in the database: the statements that turn it, for the services that may."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tradekit.states import TradingState

_SET = text("SELECT set_trading_state(:state, :note, :tighten)")
_BEGIN_START = text("SELECT begin_start(:note)")
_END_START = text("SELECT end_start(:note)")
# Who turned the switch last, where that was a start and no operator.
SET_BY_START = "START"


async def set_trading_state(
    connection: AsyncConnection, state: TradingState, note: str, *, only_tighten: bool = False
) -> TradingState:
    """Turns the switch under the account lock and wakes the executors at the commit; `only_tighten` never loosens it. Gives
    what is in force then."""
    found = await connection.execute(_SET, {"state": state.value, "note": note, "tighten": only_tighten})
    return TradingState(found.scalar_one())


async def begin_start(connection: AsyncConnection, note: str) -> bool:
    """REDUCING in the name of a start, unless an operator has said something as strict; whether the start's word is stored."""
    return bool((await connection.execute(_BEGIN_START, {"note": note})).scalar_one())


async def end_start(connection: AsyncConnection, note: str) -> bool:
    """ACTIVE where REDUCING is a start's and nobody has said anything since; whether it was so."""
    return bool((await connection.execute(_END_START, {"note": note})).scalar_one())
