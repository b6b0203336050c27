"""Kills every process of the pipeline once, without warning, in the middle of a replay: the final ledger do not change."""

import asyncio
import os
import random
import signal

from replay_runs import Undisturbed, quiet

from cli.replay.run import Watching, replay

# One process every few bars, at a moment within the bar that the seed chooses.
VICTIMS = ("executor", "risk", "orchestrator", "bridge", "validator", "signal", "market", "exchange_sim", "monitor")
FIRST_BAR, BARS_BETWEEN, SEED = 12, 5, 7


class Killer:
    """Kills its victims in turn and remembers whom it killed."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)
        self.killed: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def on_bar(self, index, as_of, supervisor, plan) -> None:
        turn, rest = divmod(index - FIRST_BAR, BARS_BETWEEN)
        if rest == 0 and 0 <= turn < len(VICTIMS):
            task = asyncio.create_task(self._kill(VICTIMS[turn], supervisor, self._random.uniform(0.0, 0.15)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _kill(self, name, supervisor, delay) -> None:
        await asyncio.sleep(delay)
        process = next(service.process for service in supervisor.state.services if service.name == name)
        os.kill(process.pid, signal.SIGKILL)
        self.killed.append(name)


def test_a_replay_in_which_every_process_is_killed_once_has_the_same_hash_and_ledger(undisturbed: Undisturbed):
    killer = Killer()
    watching = Watching(quiet().progress, quiet().event, killer.on_bar)
    # It trains a model of its own, which must be the same too.
    report = asyncio.run(replay(undisturbed.options(with_monitor=True), undisturbed.home, watching))
    assert sorted(killer.killed) == sorted(VICTIMS)
    calm = undisturbed.report
    assert sum(calm.result.orders.values()) >= 8, "the period must hold enough orders for a kill to matter"
    assert report.model["train_to"] == calm.model["train_to"]
    assert report.result.hash == calm.result.hash
    assert report.agreement.balances == calm.agreement.balances
    assert report.agreement.exchange_orders == report.result.orders_with_exchange_id == calm.agreement.exchange_orders


def test_the_ledger_agrees_with_the_exchange_to_the_last_digit(undisturbed: Undisturbed):
    result, agreement = undisturbed.report.result, undisturbed.report.agreement
    assert agreement.balances_equal
    assert {currency for currency, _, _ in agreement.balances} >= {"USD", "ETH", "SOL"}
    reasons = {one.reason for one in result.exits}
    assert reasons & {"STOP", "TARGET"}, "the period must hold a stop or a target"
    orders = sum(result.orders.values()) + sum(result.protective_orders.values())
    assert agreement.exchange_orders == result.orders_with_exchange_id == orders
    assert result.orders_unknown == 0
    assert result.unbalanced_transactions == 0


def test_nothing_disappears(undisturbed: Undisturbed):
    result = undisturbed.report.result
    decided = sum(item["items"] for item in result.outcomes)
    assert decided == sum(result.signals.values())
    recommended = sum(item["items"] for item in result.outcomes if item["outcome"] == "RECOMMENDED")
    assert recommended == len(result.items)
    assert {state.split()[1] for state in result.recommendations} <= {"EXECUTED", "REJECTED", "EXPIRED", "FAILED"}
