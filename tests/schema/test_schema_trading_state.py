"""The trading state is judged in the services and in the database: both say the same of every state and side."""

import itertools

from sqlalchemy import text

from schema.trading_state import begin_start, end_start, set_trading_state
from tradekit.states import Side, TradingState


async def test_what_a_trading_state_allows_is_the_same_in_code_and_database(database):
    asked = text("SELECT trading_state_allows(:state, :side)")
    async with database.engine.connect() as connection:
        for state, side in itertools.product(TradingState, Side):
            answer = (await connection.execute(asked, {"state": state.value, "side": side.value})).scalar_one()
            assert answer is state.allows(side), (state, side)


async def test_trading_states_have_one_order_in_code_and_database(database):
    asked = text("SELECT trading_state_rank(:state)")
    async with database.engine.connect() as connection:
        ranks = {
            state: (await connection.execute(asked, {"state": state.value})).scalar_one() for state in TradingState
        }
        for one, other in itertools.product(TradingState, repeat=2):
            assert (ranks[one] < ranks[other]) is (one.rank < other.rank), (one, other)
        # What neither knows is allowed nothing.
        assert (await connection.execute(text("SELECT trading_state_allows('OPEN', 'SELL')"))).scalar_one() is False


async def test_the_switch_only_tightens_by_the_rank_of_the_code(database):
    asked = text("SELECT set_trading_state(:state, '', true)")
    setting = text("UPDATE accounts SET trading_state = :state WHERE account_id = 'main'")
    for before, wanted in itertools.product(TradingState, repeat=2):
        async with database.engine.begin() as connection:
            await connection.execute(setting, {"state": before.value})
            after = (await connection.execute(asked, {"state": wanted.value})).scalar_one()
        assert after == max(before, wanted, key=lambda state: state.rank).value, (before, wanted)


async def test_a_start_ends_what_it_began_and_nothing_that_an_operator_said(database):
    """Every state that an operator may have set before or while a start holds: only a start's own REDUCING becomes ACTIVE."""

    async def stands(connection):
        row = (await connection.execute(text("SELECT trading_state, trading_state_set_by FROM accounts"))).one()
        return TradingState(row.trading_state), row.trading_state_set_by

    async with database.engine.begin() as connection:
        for before, meanwhile in itertools.product(TradingState, (None, *TradingState)):
            await set_trading_state(connection, before, "before")
            began = await begin_start(connection, "start")
            assert began is (before is TradingState.ACTIVE), before
            assert await stands(connection) == ((TradingState.REDUCING, "START") if began else (before, "OPERATOR"))
            # A start that died left its word, and the next one takes it over.
            assert await begin_start(connection, "start again") is began
            if meanwhile is not None:
                await set_trading_state(connection, meanwhile, "meanwhile", only_tighten=True)
            said = [state for state in (before, meanwhile) if state not in (None, TradingState.ACTIVE)]
            ended = await end_start(connection, "reconciled")
            assert ended is (not said), (before, meanwhile)
            strictest = max(said, key=lambda state: state.rank, default=TradingState.ACTIVE)
            assert await stands(connection) == (strictest, "OPERATOR"), (before, meanwhile)
