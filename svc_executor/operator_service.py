"""The operator's calls at the executor: the switch, cancelling, closing. None of them needs another service."""

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from meshkit.errors import OutcomeUnknown, Unavailable
from meshkit.kit import Kit
from schema.clocks import read_clocks
from schema.requests import once, request_key, stored_answer
from svc_executor import operator_wire, store, wire
from svc_executor.cancelling import Cancelled, Cancelling
from svc_executor.closing import Closed, Closing
from svc_executor.closing_again import ClosingAgain
from svc_executor.closing_store import WaitingClose
from svc_executor.entry_watch import EntryWatch
from svc_executor.protector import Protector
from svc_executor.trading_switch import Known, TradingSwitch
from tradekit.reasons import Reason
from tradekit.sizes import NO_BASE
from tradekit.states import OrderState, TradingState
from tradekit.units import BaseSize
from tradekit.wire import amount_message, reason_messages, timestamp_message
from trading.executor.v1 import executor_service_pb2 as pb

# How long a halt, which is in force by then, waits with its answer for sends that were under way.
_ANSWERED_SECONDS, _LOOK_SECONDS = 1.0, 0.05


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """Ids of orders that are not done: of open outcome, and known to rest at the exchange."""

    unresolved: tuple[str, ...]
    resting: tuple[str, ...]


class OperatorCalls:
    """Mixed into the servicer."""

    def __init__(
        self,
        kit: Kit[Any],
        switch: TradingSwitch,
        cancelling: Cancelling,
        closing: Closing,
        later: ClosingAgain,
        protector: Protector,
        entries: EntryWatch,
    ) -> None:
        self._kit = kit
        self._switch = switch
        self._cancelling = cancelling
        self._closing = closing
        self._later = later
        self._protector = protector
        self._entries = entries

    async def set_trading_state(self, request: pb.SetTradingStateRequest) -> pb.SetTradingStateResponse:
        """Tightens at once and everywhere; loosens through the database only."""
        call = operator_wire.parse_state(request)
        known = self._switch.known()
        before = known.state
        # To ACTIVE even where this process knows of nothing stricter: only the database can say that it is so.
        if call.state is TradingState.ACTIVE or (call.state.rank < before.rank and not call.only_tighten):
            return await self._loosen(call, known)
        with self._switch.answering():
            stored = await self._switch.tighten(call.state, call.note)
            orders = await self._answered_orders() if stored else None
            found = self._switch.in_force()
            return pb.SetTradingStateResponse(
                state=operator_wire.state_number(found.state),
                previous_state=operator_wire.state_number(before),
                # Where the database went away meanwhile, nobody may read "no order is unresolved" out of empty lists.
                stored=orders is not None,
                set_time=timestamp_message(self._kit.clock.now()),
                unresolved_order_ids=orders.unresolved if orders else (),
                open_order_ids=orders.resting if orders else (),
                kept=found.kept,
            )

    async def _loosen(self, call: operator_wire.StateCall, known: Known) -> pb.SetTradingStateResponse:
        body = f"{call.state.value}|{call.note}"
        key = request_key(self._kit.settings.service_name, "SetTradingState", call.request_id, body)
        async with self._kit.autocommit.connect() as connection:
            again = await stored_answer(connection, key, pb.SetTradingStateResponse)
        if again is not None:
            # Trading may have been halted since: an old request must not undo that, nor its answer hide it.
            found = self._switch.in_force()
            again.state, again.stored, again.kept = (
                operator_wire.state_number(found.state),
                found.local is None,
                found.kept,
            )
            return again

        async def remember(connection: AsyncConnection, before: TradingState) -> pb.SetTradingStateResponse:
            async def loosened() -> pb.SetTradingStateResponse:
                return pb.SetTradingStateResponse(
                    state=operator_wire.state_number(call.state),
                    previous_state=operator_wire.state_number(before),
                    stored=True,
                    kept=True,
                    set_time=timestamp_message((await read_clocks(connection)).machine),
                )

            answer, _ = await once(connection, key, pb.SetTradingStateResponse, loosened)
            return answer

        return await self._switch.loosen(call.state, call.note, known, remember)

    async def _answered_orders(self) -> OpenOrders | None:
        """Open orders once those that were being sent at that moment are answered for, or have had time to be: what is only on
        its way is told of as open otherwise, and somebody goes and looks for it."""
        clock = self._kit.clock
        end = clock.monotonic() + _ANSWERED_SECONDS
        while True:
            orders = await self._open_orders()
            if orders is None or not orders.unresolved or clock.monotonic() >= end:
                return orders
            await asyncio.sleep(_LOOK_SECONDS)

    async def _open_orders(self) -> OpenOrders | None:
        """None if the database does not answer."""
        try:
            async with self._kit.autocommit.connect() as connection:
                rows = await store.open_orders(connection)
        except Unavailable:
            return None
        return OpenOrders(
            unresolved=tuple(str(row.order_id) for row in rows if row.facts.doubtful),
            resting=tuple(str(row.order_id) for row in rows if row.state is OrderState.OPEN and row.may_trade),
        )

    def get_trading_state(self) -> pb.GetTradingStateResponse:
        """What is in force here and where it comes from."""
        found = self._switch.in_force()
        # Before the database's first answer nobody knows, unless a halt of this executor's own holds.
        known = found.local is not None or found.stored is not None
        return pb.GetTradingStateResponse(
            state=operator_wire.state_number(found.state if known else None),
            local_state=operator_wire.state_number(found.local.state if found.local else None),
            stored_state=operator_wire.state_number(found.stored),
            note=found.note,
            kept=found.kept,
            reason=found.reason,
        )

    async def cancel_orders(self, request: pb.CancelOrdersRequest) -> pb.CancelOrdersResponse:
        """Asked again it finds what is left; what was ended stays ended."""
        call = operator_wire.parse_cancel(request)
        which = {"product_id": call.product_id or "all", "order_id": str(call.order_id or "all")}
        self._kit.log.warning("cancel_orders", **which, note=call.note)
        waited = await self._later.give_up(call.product_id, call.order_id)
        # One that waits has no order yet.
        done = call.order_id is not None and bool(waited)
        outcomes = [] if done else await self._cancelling.cancel(call.product_id, call.order_id)
        ended = [_ended_message(one) for one in waited]
        return pb.CancelOrdersResponse(outcomes=[*ended, *(_cancel_message(outcome) for outcome in outcomes)])

    async def close_positions(self, request: pb.ClosePositionsRequest) -> pb.ClosePositionsResponse:
        """A receipt of what was sold, what remains, and why."""
        call = operator_wire.parse_close(request)
        self._kit.log.warning("close_positions", products=list(call.product_ids) or "all", note=call.note)
        closed = await self._closing.close(call)
        ids = [one.order_id for one in closed if one.order_id is not None]
        try:
            async with self._kit.autocommit.connect() as connection:
                rows = {row.order_id: row for row in await store.orders_by_id(connection, ids)}
                held = await store.held(connection)
        except Unavailable as error:
            if not ids:
                raise
            names = ", ".join(map(str, ids))
            # They are committed, so "did not happen" would not be true.
            raise OutcomeUnknown(
                f"orders {names} are written down and their state cannot be told now: {error.message}",
                metadata={"order_ids": names},
            ) from error
        return pb.ClosePositionsResponse(
            outcomes=[
                _close_message(one, rows.get(one.order_id) if one.order_id else None, held.get(one.product_id, NO_BASE))
                for one in closed
            ]
        )

    async def protect_positions(self, request: pb.ProtectPositionsRequest) -> pb.ProtectPositionsResponse:
        """Entries that rest and positions as they are after it; asked again it finds what is left to do."""
        operator_wire.parse_protect(request)
        resting = await self._entries.look()
        held = await self._protector.look()
        return pb.ProtectPositionsResponse(
            positions=[operator_wire.protection_message(one) for one in held],
            watches=self._protector.watches(held),
            resting_entries=[wire.order_message(one) for one in resting],
        )


def _cancel_message(outcome: Cancelled) -> pb.CancelOutcome:
    return pb.CancelOutcome(
        result=f"CANCEL_RESULT_{outcome.result}",
        order=wire.order_message(outcome.order),
        detail=outcome.detail[:200],
    )


def _ended_message(one: WaitingClose) -> pb.CancelOutcome:
    """A close that waited: the order that it would have made."""
    order = pb.Order(
        order_id=str(one.order_id),
        product_id=one.product_id,
        side="SIDE_SELL",
        state=pb.ORDER_STATE_CANCELLED,
        purpose=pb.ORDER_PURPOSE_CLOSE,
        note=one.note,
    )
    return pb.CancelOutcome(result=pb.CANCEL_RESULT_ENDED_UNSENT, order=order)


def _close_message(one: Closed, order: store.OrderRow | None, left: BaseSize) -> pb.CloseOutcome:
    # A part that waited still when it was asked may be gone by now.
    reasons = list(one.why) if order is None or left > 0 else []
    if order is not None and left > 0:
        scope = f"order:{order.order_id}"
        if not order.terminal:
            reasons.append(Reason(f"ORDER_{order.state.value}", scope=scope))
        else:
            reasons += order.reasons or (() if one.why else (Reason("NOT_ALL_AVAILABLE", scope=scope),))
    message = pb.CloseOutcome(
        product_id=one.product_id,
        held_size=amount_message(one.held),
        remaining_size=amount_message(left),
        reasons=reason_messages(reasons),
    )
    if order is not None:
        message.order.CopyFrom(wire.order_message(order))
    return message
