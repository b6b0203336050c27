"""Halting, resuming and closing as a shell does them, and the receipt of each.

Only the executor is asked, because nothing else stands between an order and the exchange; where it does not answer, its
halt file says it all the same.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc

from cli.calls import channel_to, is_silent, no_answer, require_instance, require_running
from cli.exits import CommandFailed
from cli.instance_file import Instance, mesh_home
from meshkit.errors import from_rpc_error
from tradekit import halt_file, ids, services
from tradekit.states import TradingState
from trading.executor.v1 import executor_service_pb2 as pb
from trading.executor.v1 import executor_service_pb2_grpc as rpc
from trading.risk.v1 import risk_service_pb2 as risk_pb
from trading.risk.v1 import risk_service_pb2_grpc as risk_rpc

T = TypeVar("T")
SWITCH_SECONDS, CANCEL_SECONDS, CLOSE_SECONDS = 4.0, 30.0, 60.0


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a receipt; `kind` is good, bad, note or plain."""

    kind: str
    text: str


@dataclass(slots=True)
class Receipt:
    """What was done and what is left. `left_over`: somebody should look."""

    lines: list[Line] = field(default_factory=list)
    left_over: bool = False

    def say(self, kind: str, text: str) -> None:
        """Adds a line; a bad one means that something is left over."""
        self.lines.append(Line(kind, text))
        self.left_over = self.left_over or kind == "bad"


@dataclass(frozen=True, slots=True)
class Halt:
    """What `mesh halt` was asked for."""

    note: str
    reducing: bool = False
    cancel: bool = False
    flatten: bool = False

    @property
    def first_state(self) -> TradingState:
        """Flattening sells, so it begins with entries alone stopped."""
        return TradingState.REDUCING if self.reducing or self.flatten else TradingState.HALTED


def run_halt(wanted: Halt) -> Receipt:
    """Halts; everything else follows. Whatever fails or is interrupted on the way, it ends with what was asked for."""
    instance, receipt = require_instance(mesh_home()), Receipt()
    note = halt_file.clean_note(wanted.note)
    held = _write_file(wanted.first_state, note, receipt)

    async def work() -> None:
        last = held
        try:
            cancels = wanted.cancel or wanted.flatten
            if await _switch(instance, wanted.first_state, note, receipt, held, loosen=wanted.flatten, cancels=cancels):
                await _way_out(instance, wanted, note, receipt)
            elif cancels:
                advice = no_answer(instance, services.EXECUTOR).advice
                receipt.say("bad", f"nothing was cancelled or sold: that needs the executor; {advice}")
        finally:
            if wanted.flatten:
                last = _write_file(TradingState.HALTED, note, receipt)
        if wanted.flatten:
            await _switch(instance, TradingState.HALTED, note, receipt, last)

    asyncio.run(work())
    return receipt


async def _way_out(instance: Instance, wanted: Halt, note: str, receipt: Receipt) -> None:
    """Cancels and sells as far as it goes; the receipt names what failed, and the halt follows all the same."""
    for asked, step in ((wanted.cancel or wanted.flatten, _cancel), (wanted.flatten, _close_all)):
        if not asked:
            continue
        try:
            await step(instance, note, receipt)
        except CommandFailed as silent:
            receipt.say("bad", f"{silent.message}; what it had begun goes on: mesh status, then this command again")
        except grpc.aio.AioRpcError as error:
            found = from_rpc_error(error)
            receipt.say("bad", f"{found.reason}: {found.message}; what it had begun goes on: mesh status")


async def _close_all(instance: Instance, note: str, receipt: Receipt) -> None:
    await _close(instance, (), note, receipt, then_halts=True)


def run_resume(note: str, release_locks: bool, reducing: bool) -> Receipt:
    """Lets trading go on, or exits alone; the database must answer."""
    instance, receipt = require_running(mesh_home()), Receipt()
    note = halt_file.clean_note(note)

    async def work() -> None:
        wanted = TradingState.REDUCING if reducing else TradingState.ACTIVE
        request = pb.SetTradingStateRequest(
            request_id=str(ids.new_request_id()), state=f"TRADING_STATE_{wanted.value}", note=note
        )
        answer = await _ask_executor(instance, lambda stub: stub.SetTradingState(request, timeout=SWITCH_SECONDS))
        receipt.say("good", f"trading is {_state(answer.state)} (was {_state(answer.previous_state)})")
        if release_locks:
            await _release_locks(instance, note, receipt)

    asyncio.run(work())
    return receipt


def run_close(product_ids: Sequence[str], note: str) -> Receipt:
    """Sells positions; no product means all."""
    instance, receipt = require_running(mesh_home()), Receipt()
    try:
        asyncio.run(_close(instance, product_ids, halt_file.clean_note(note), receipt))
    except grpc.aio.AioRpcError as error:
        found = from_rpc_error(error)
        if found.reason != "TRADING_HALTED":
            raise
        advice = "mesh halt --flatten sells everything and stays halted; mesh resume --reducing lets exits out"
        raise CommandFailed(f"{found.message}: nothing was sold", advice) from None
    return receipt


def run_cancel(order_id: str, note: str) -> Receipt:
    """Cancels one order, at the exchange where it rests there."""
    receipt = Receipt()
    asyncio.run(_cancel(require_instance(mesh_home()), note, receipt, order_id))
    return receipt


def _write_file(state: TradingState, note: str, receipt: Receipt) -> halt_file.Halt | None:
    """The order that holds in the halt file now, an earlier one where that is stricter; None where it cannot be written."""
    halt = halt_file.Halt(state, note, halt_file.now_text(datetime.now(UTC)))
    try:
        return halt_file.write(mesh_home().halt_file, halt)
    except OSError as error:
        receipt.say("note", f"the halt file {mesh_home().halt_file} cannot be written ({error.strerror})")
        return None


async def _ask_executor(instance: Instance, call: Callable[[Any], Awaitable[T]]) -> T:
    """One call; CommandFailed in words where the executor does not answer."""
    try:
        async with channel_to(instance, services.EXECUTOR) as channel:
            return await call(rpc.ExecutorServiceStub(channel))
    except grpc.aio.AioRpcError as error:
        if is_silent(error):
            raise no_answer(instance, services.EXECUTOR) from None
        raise


async def _switch(
    instance: Instance,
    state: TradingState,
    note: str,
    receipt: Receipt,
    held: halt_file.Halt | None,
    *,
    loosen: bool = False,
    cancels: bool = False,
) -> bool:
    """Turns the executor's switch and tells what is in force; False where it does not answer. A halt never loosens, but for
    the selling of a flatten. `held` is what the halt file holds. `cancels`: what rests is cancelled next, which is told then."""
    request = pb.SetTradingStateRequest(
        request_id=str(ids.new_request_id()),
        state=f"TRADING_STATE_{state.value}",
        note=note,
        only_tighten=not loosen,
    )
    try:
        if loosen:
            now = await _ask_executor(
                instance, lambda stub: stub.GetTradingState(pb.GetTradingStateRequest(), timeout=SWITCH_SECONDS)
            )
            if now.state and TradingState(_state(now.state)).rank > state.rank:
                receipt.say("note", f"trading was {_state(now.state)}; exits are let out for the selling")
        answer = await _ask_executor(instance, lambda stub: stub.SetTradingState(request, timeout=SWITCH_SECONDS))
    except (CommandFailed, grpc.aio.AioRpcError) as failed:
        why = failed.message if isinstance(failed, CommandFailed) else from_rpc_error(failed).message
        stored = await _tell_database(instance, request)
        for kind, text in _without_executor(why, state, held, stored):
            receipt.say(kind, text)
        return False
    in_force = TradingState(_state(answer.state))
    if in_force.rank < state.rank:
        receipt.say("bad", f"trading is {in_force.value}: somebody let it go on at the same moment; halt again")
        return True
    if in_force.rank > state.rank:
        receipt.say("good", f"trading stays {in_force.value}, which is stricter; mesh resume lets it go on")
    else:
        receipt.say("good", f"trading is {in_force.value}")
    await _tell_keeping(instance, request, answer, receipt)
    for order_id in answer.unresolved_order_ids:
        receipt.say(
            "bad", f"order {order_id} was sent and its outcome is open: it is searched for, nothing more is sent"
        )
    for text in () if cancels else await _resting(instance, answer.open_order_ids):
        receipt.say("note", text)
    return True


async def _resting(instance: Instance, order_ids: Sequence[str]) -> list[str]:
    """What is to be said of each order that rests at the exchange: what protects a position is best left there."""

    async def open_orders(stub: Any) -> dict[str, pb.Order]:
        request = pb.ListOrdersRequest(state=pb.ORDER_STATE_OPEN)
        listed = await stub.ListOrders(request, timeout=SWITCH_SECONDS)
        return {one.order_id: one for one in listed.orders}

    found: dict[str, pb.Order] = {}
    if order_ids:
        with suppress(CommandFailed, grpc.aio.AioRpcError):
            found = await _ask_executor(instance, open_orders)
    return [_rests(one, found.get(one, pb.Order())) for one in order_ids]


def _rests(order_id: str, order: pb.Order) -> str:
    if order.cancel_requested:
        return f"order {order_id} of {order.product_id}: its cancel was asked for and has not taken hold at the exchange yet"
    if order.purpose == pb.ORDER_PURPOSE_PROTECTION:
        return f"order {order_id} rests at the exchange and protects {order.product_id}; it stays there"
    return f"order {order_id} rests at the exchange; mesh halt --cancel cancels it, with all that protects"


async def _tell_keeping(
    instance: Instance, request: pb.SetTradingStateRequest, answer: pb.SetTradingStateResponse, receipt: Receipt
) -> None:
    """What becomes of the answered state when the executor ends, where that is not simply the database's."""
    if answer.stored:
        return
    if answer.kept:
        receipt.say(
            "note",
            "the database does not answer: the halt is kept all the same, also through restarts, and the executor writes it "
            "there when it is back; nobody can say until then which orders are under way",
        )
        return
    in_force, stored = TradingState(_state(answer.state)), await _tell_database(instance, request)
    if stored is not None and stored.rank >= in_force.rank:
        receipt.say("note", f"the executor could write it nowhere; the risk engine has the database say {stored.value}")
        return
    receipt.say(
        "bad",
        f"this halt is kept NOWHERE but in the executor's memory: neither the halt file {mesh_home().halt_file} nor the "
        "database has it. It holds while that process lives and is gone when it ends, by a crash, mesh restart or mesh down",
    )
    receipt.say(
        "note",
        "the executor goes on trying both; make room for the halt file or bring the database back, then give this "
        "command again: exit code 0 says that the halt is kept. mesh status shows it too",
    )


def _without_executor(
    why: str, state: TradingState, held: halt_file.Halt | None, stored: TradingState | None
) -> Sequence[tuple[str, str]]:
    """Where a halt holds that the executor was not told: in the halt file, in the database, in both or nowhere."""
    if held is None and stored is None:
        return (("bad", f"{why}; this halt is NOT in force: neither the halt file nor the database has it"),)
    if held is None:
        return (("bad", f"{why}; only the database has the halt, and the executor follows it once it is back"),)
    stricter = ", which is stricter and stays" if held.state.rank > state.rank else ""
    told = f"{why}; the halt file says {held.state.value}{stricter}, and the executor looks there before every send"
    if stored is None:
        then = ("note", "the database does not have it yet; the executor writes it there when it is back")
    elif stored.rank > state.rank:
        then = ("plain", f"the database says {stored.value}, which is stricter and stays")
    else:
        then = ("plain", "the database has it too")
    return (("bad", told), then)


async def _tell_database(instance: Instance, request: pb.SetTradingStateRequest) -> TradingState | None:
    """The second way to the same row, for whoever reads it while the executor is away; it never loosens. What is stored now;
    None where nobody says it."""
    same = risk_pb.SetTradingStateRequest(
        request_id=request.request_id, state=request.state, note=request.note, only_tighten=True
    )
    try:
        async with channel_to(instance, services.RISK) as channel:
            answer = await risk_rpc.RiskServiceStub(channel).SetTradingState(same, timeout=SWITCH_SECONDS)
            return TradingState(_state(answer.state))
    except (grpc.aio.AioRpcError, ValueError):
        return None


async def _release_locks(instance: Instance, note: str, receipt: Receipt) -> None:
    request = risk_pb.SetTradingStateRequest(
        request_id=str(ids.new_request_id()), state="TRADING_STATE_ACTIVE", note=note, release_locks=True
    )
    try:
        async with channel_to(instance, services.RISK) as channel:
            answer = await risk_rpc.RiskServiceStub(channel).SetTradingState(request, timeout=SWITCH_SECONDS)
    except grpc.aio.AioRpcError as error:
        if not is_silent(error):
            raise
        silent = no_answer(instance, services.RISK)
        receipt.say("bad", f"{silent.message}: no lock was released; {silent.advice}")
        return
    receipt.say("plain", f"{answer.released_locks} lock(s) released")


_CANCEL_WORDS = {
    "ENDED_UNSENT": ("plain", "was never sent and never will be"),
    "CANCELLED": ("plain", "is cancelled"),
    "ALREADY_DONE": ("note", "was done before the cancel reached it"),
    "STILL_OPEN": ("bad", "still rests at the exchange"),
    "UNKNOWN": ("bad", "is UNKNOWN: it is searched for, nothing more is sent"),
}


async def _cancel(instance: Instance, note: str, receipt: Receipt, order_id: str = "") -> None:
    request = pb.CancelOrdersRequest(request_id=str(ids.new_request_id()), note=note, order_id=order_id)
    answer = await _ask_executor(instance, lambda stub: stub.CancelOrders(request, timeout=CANCEL_SECONDS))
    if not answer.outcomes:
        receipt.say(
            *(("note", f"order {order_id} had ended before") if order_id else ("plain", "no order was under way"))
        )
    for outcome in answer.outcomes:
        kind, words = _CANCEL_WORDS[pb.CancelResult.Name(outcome.result).removeprefix("CANCEL_RESULT_")]
        order = outcome.order
        name = f"order {order.order_id} ({order.product_id})"
        filled = f"; {order.filled_size.value} filled" if order.filled_size.value not in ("", "0") else ""
        receipt.say(kind, f"{name} {words}{filled}{': ' + outcome.detail if outcome.detail else ''}")


async def _close(
    instance: Instance, product_ids: Sequence[str], note: str, receipt: Receipt, *, then_halts: bool = False
) -> None:
    request = pb.ClosePositionsRequest(request_id=str(ids.new_request_id()), product_ids=product_ids, note=note)
    answer = await _ask_executor(instance, lambda stub: stub.ClosePositions(request, timeout=CLOSE_SECONDS))
    if not answer.outcomes:
        receipt.say("plain", "nothing is held")
    for one in answer.outcomes:
        sold, left = one.order.filled_size.value or "0", one.remaining_size.value or "0"
        price = f" at {one.order.average_price.value}" if one.order.HasField("average_price") else ""
        text = f"{one.product_id}: held {one.held_size.value or '0'}, sold {sold}{price}, remaining {left}"
        # A halt ends what would be tried again.
        told = [reason for reason in one.reasons if not (then_halts and reason.code == "CLOSE_WAITS")]
        why = ", ".join(f"{reason.code} {reason.observed}".strip() for reason in told)
        if [reason.code for reason in one.reasons] == ["NOT_HELD"]:
            text, why = f"{one.product_id}: nothing of it is held, nothing was sold", "NOT_HELD"
            if one.held_size.value not in ("", "0") and left == "0":
                # What protected it was faster than the close.
                text, why = f"{one.product_id}: held {one.held_size.value}, its stop or target sold it meanwhile", ""
        receipt.say("good" if left == "0" and not why else "bad", f"{text}{': ' + why if why else ''}")
        if len(told) < len(one.reasons):
            again = f"mesh resume --reducing, then mesh close {one.product_id} sells it"
            receipt.say("note", f"{one.product_id} is not tried again while trading is HALTED; {again}")


def _state(number: risk_pb.TradingState) -> str:
    return risk_pb.TradingState.Name(number).removeprefix("TRADING_STATE_")
