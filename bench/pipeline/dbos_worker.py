"""Workflows of DBOS Transact as a process of its own: `python -m bench.pipeline.dbos_worker URL SETTING ITEMS ALONE`.

A workflow of three steps, each one small INSERT or UPDATE in a transaction that holds the step's record too: the cheapest
durable step that DBOS has. Writes one line of JSON: workflows per second of a burst, and the seconds of single ones.
"""

import asyncio
import json
import sys
import time
from typing import Any, Final

import sqlalchemy as sa
from dbos import DBOS, AsyncSQLAlchemyDatasource, DBOSConfig, SQLAlchemyDatasource

from bench.pipeline.bursts import burst_and_alone

QUEUE = "bench"
POLLING_SECONDS = 0.05
MOST_THREADS = 64
TABLE = "CREATE TABLE IF NOT EXISTS bench_items (item text PRIMARY KEY, state text NOT NULL, size numeric NOT NULL)"
STEPS = (
    sa.text("INSERT INTO bench_items VALUES (:item, 'PROPOSED', 12)"),
    sa.text("UPDATE bench_items SET state = 'EXECUTING' WHERE item = :item"),
    sa.text("UPDATE bench_items SET state = 'EXECUTED' WHERE item = :item"),
)
ISOLATION: Final = "READ COMMITTED"


def synchronous(url: str, pool: int) -> Any:
    """The workflow with threads."""
    source = SQLAlchemyDatasource.create(url, engine_kwargs={"pool_size": pool, "max_overflow": 0})

    @source.transaction(isolation_level=ISOLATION)
    def step(item: str, number: int) -> None:
        source.sql_session().execute(STEPS[number], {"item": item})

    @DBOS.workflow()
    def workflow(item: str) -> str:
        for number in range(len(STEPS)):
            step(item, number)
        return item

    return workflow


async def asynchronous(url: str, pool: int) -> Any:
    """The workflow on an event loop."""
    source = await AsyncSQLAlchemyDatasource.create(url, engine_kwargs={"pool_size": pool, "max_overflow": 0})

    @source.transaction(isolation_level=ISOLATION)
    async def step(item: str, number: int) -> None:
        await source.sql_session().execute(STEPS[number], {"item": item})

    @DBOS.workflow()
    async def workflow(item: str) -> str:
        for number in range(len(STEPS)):
            await step(item, number)
        return item

    return workflow


def burst(workflow: Any, queued: bool, names: list[str]) -> float:
    """Seconds from the first start to the last end."""
    began = time.perf_counter()
    if queued:
        handles = [DBOS.enqueue_workflow(QUEUE, workflow, name) for name in names]
    else:
        handles = [DBOS.start_workflow(workflow, name) for name in names]
    for handle in handles:
        handle.get_result()
    return time.perf_counter() - began


def main() -> None:
    url, setting, items, alone = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    kind, _, size = setting.partition("-")
    at_once = int(size)
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url,
        "log_level": "WARNING",
        "sys_db_pool_size": min(at_once + 4, 40),
        "max_executor_threads": max(at_once, 8),
    }
    DBOS(config=config)
    with sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg")).begin() as connection:
        connection.execute(sa.text(TABLE))
        connection.execute(sa.text("TRUNCATE bench_items"))
    names, singles = ([f"{word}-{time.time_ns()}-{i}" for i in range(n)] for word, n in (("b", items), ("s", alone)))
    if kind == "async":
        found = asyncio.run(_async_run(url, at_once, names, singles))
    else:
        found = _run(url, kind == "queue", at_once, names, singles)
    print("figures " + json.dumps(found), flush=True)
    DBOS.destroy()


def _run(url: str, queued: bool, at_once: int, names: list[str], singles: list[str]) -> dict[str, Any]:
    workflow = synchronous(url, min(at_once, 30))
    DBOS.launch()
    if queued:
        DBOS.register_queue(QUEUE, worker_concurrency=at_once, polling_interval_sec=POLLING_SECONDS)
    workflow(f"warm-{time.time_ns()}")
    seconds = burst(workflow, queued, names)
    alone = []
    for name in singles:
        began = time.perf_counter()
        workflow(name)
        alone.append(time.perf_counter() - began)
    return {"per_second": len(names) / seconds, "alone": alone}


async def _async_run(url: str, at_once: int, names: list[str], singles: list[str]) -> dict[str, Any]:
    workflow = await asynchronous(url, min(at_once, 30))
    DBOS.launch()
    await workflow(f"warm-{time.time_ns()}")
    per_second, alone = await burst_and_alone(workflow, names, at_once, singles)
    return {"per_second": per_second, "alone": alone}


if __name__ == "__main__":
    main()
