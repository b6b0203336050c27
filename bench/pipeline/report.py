"""The figures as tables for eyes, and as plain values for a file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from rich.table import Table

from bench.pipeline.cost import CostFigures, IdleFigures
from bench.pipeline.endurance import EnduranceFigures
from bench.pipeline.figures import Spread, ratio
from bench.pipeline.loads import BurstFigures, PaceFigures
from bench.pipeline.meter import Use
from bench.pipeline.orchestrators import OrchestratorFigures
from bench.pipeline.overload import OverloadFigures
from bench.pipeline.peers import PeerFigures
from bench.pipeline.statements import Line

Cell = str
_MB = 1024 * 1024


def plain(value: Any) -> Any:
    """A figure as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        # Not asdict: it takes the items of a Counter for what is counted.
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping | Counter):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return round(value, 6) if isinstance(value, float) else value


def ms(seconds: float | None) -> Cell:
    """Seconds in milliseconds; a dash for none."""
    return "-" if seconds is None else f"{seconds * 1000:,.1f}"


def number(value: float | None, digits: int = 1) -> Cell:
    """A figure, a dash for none."""
    return "-" if value is None else f"{value:,.{digits}f}"


def spread_cells(found: Spread | None) -> tuple[Cell, Cell, Cell]:
    """p50, p99 and the longest, in milliseconds."""
    return ("-", "-", "-") if found is None else (ms(found.p50), ms(found.p99), ms(found.longest))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """A table whose first column is words and whose others are figures."""
    made = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        made.add_column(column, justify="right" if place else "left", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def ends_text(ends: Mapping[str, int], refused: Mapping[str, int], delays: Mapping[str, int]) -> Cell:
    """Everything that became of a load, nothing left out, and how often one was put back to be tried again."""
    parts = [f"{count} {how}" for how, count in sorted(ends.items(), key=lambda item: -item[1])]
    parts += [f"{count} refused by the bridge: {why}" for why, count in refused.items()]
    parts += [f"put back {count} times: {why}" for why, count in delays.items()]
    return "; ".join(parts)


def burst_table(found: BurstFigures) -> Table:
    """Throughput."""
    rows = [
        ("created", f"{number(found.created_per_second)} /s"),
        ("executed", f"{number(found.executed_per_second)} /s"),
        ("one call, p50 / p99 / longest ms", " / ".join(spread_cells(found.call))),
        ("orders", str(found.orders)),
        ("how they ended", ends_text(found.ends, found.refused, found.delays)),
    ]
    return table(f"burst of {found.wanted:,}", ("", "figure"), rows)


def use_table(title: str, per_item: Use) -> Table:
    """CPU by process, and the database's counters."""
    rows = [(f"{name}, CPU ms", ms(seconds)) for name, seconds in per_item.cpu.items()]
    rows.append(("all, CPU ms", ms(sum(per_item.cpu.values()))))
    words = {
        "writes": "transactions that write",
        "wal_bytes": "bytes of the write-ahead log",
        "wal_flushes": "flushes of the write-ahead log",
        "page_images": "whole pages in it (the first change after a checkpoint)",
    }
    rows += [(words[name], number(value)) for name, value in per_item.database.items()]
    return table(title, ("", "figure"), rows)


def endurance_table(found: EnduranceFigures) -> Table:
    """Processor time per order, early and late."""
    early, late = found.at_early.cpu, found.at_late.cpu
    rows = [(name, ms(early[name]), ms(late.get(name)), number(found.ratios.get(name), 2)) for name in early]
    columns = ("CPU ms per executed recommendation", f"order {found.early:,}", f"order {found.late:,}", "ratio")
    return table("early and late", columns, rows)


def overload_table(found: OverloadFigures) -> Table:
    """Memory of each process before, in and after a load that is too much."""
    readings = [found.before, *found.during, found.after]

    def line(name: str, of: Sequence[int]) -> tuple[Cell, ...]:
        grown = ratio(float(max(of[2:-1] or of[1:-1])), float(of[1])) if len(of) > 2 else None
        return (name, *(f"{one / _MB:,.0f}" for one in of), number(grown, 2))

    rows = [line(name, [one.get(name, 0) for one in readings]) for name in found.before]
    rows.append(line("all", [sum(one.values()) for one in readings]))
    during = [f"in it {number_of}" for number_of in range(1, len(found.during) + 1)]
    taken = found.created / found.seconds if found.seconds else 0.0
    title = (
        f"{number(found.wanted, 0)} a second wanted for {found.seconds:.0f} s where {number(found.served)} can be served: "
        f"{number(taken)} a second taken, {found.most_open:,} open at most; "
        f"{ends_text(found.ends, found.refused, {})}"
    )
    return table(title, ("PSS MB", "before", *during, "after", "most in it to the first"), rows)


def pace_table(found: Sequence[PaceFigures]) -> Table:
    """Latencies at each pace, and how far behind it fell."""
    columns = (
        *("a second", "sent p50 ms", "p99", "longest", "ended p50 ms", "p99", "longest", "call late p99 ms"),
        *("left over", "drained s", "executed /s", "how they ended"),
    )
    rows = [
        (
            number(one.per_second, 0),
            *spread_cells(one.created_to_sent),
            *spread_cells(one.created_to_end),
            spread_cells(one.late)[1],
            str(one.left_over),
            number(one.drained_in),
            number(one.executed_per_second),
            ends_text(one.ends, one.refused, one.delays),
        )
        for one in found
    ]
    return table("from created to sent, and to the end", columns, rows)


def step_table(title: str, steps: Mapping[str, Spread]) -> Table:
    """Where the milliseconds go."""
    rows = [(step, *spread_cells(seconds)) for step, seconds in steps.items()]
    return table(f"steps {title}, ms", ("step", "p50", "p99", "longest"), rows)


def cost_tables(found: CostFigures) -> list[Table]:
    """What one costs."""
    title = f"per executed recommendation, of {found.executed} at a light load, rest taken off"
    return [
        use_table(title, found.per_item),
        statement_table("statements per executed recommendation", found.statements),
    ]


def statement_table(title: str, lines: Sequence[Line]) -> Table:
    """Statements and transactions by service; every column of the lines is shown."""
    columns = list(lines[0])
    shown = [column.replace("_per_second", " /s").replace("_", " ") for column in columns]
    return table(title, shown, [tuple(str(line[column]) for column in columns) for line in lines])


def idle_table(found: IdleFigures) -> Table:
    """The mesh at rest."""
    names = list(found.per_second.cpu)
    rows = [
        (
            name,
            f"{found.per_second.cpu[name] * 100:.1f}",
            f"{found.memory.get(name, 0) / _MB:,.0f}",
            number(found.statements.get(name)),
            number(found.transactions.get(name)),
        )
        for name in names
    ]
    total = (
        "all",
        f"{sum(found.per_second.cpu.values()) * 100:.1f}",
        f"{sum(found.memory.values()) / _MB:,.0f}",
        number(sum(found.statements.values())),
        number(sum(found.transactions.values())),
    )
    database = found.per_second.database
    title = (
        f"at rest for {found.seconds:g} s: {number(database['writes'])} transactions that write and "
        f"{number(database['wal_bytes'] / 1024)} kB of log a second"
    )
    return table(title, ("process", "CPU % of a core", "PSS MB", "statements /s", "transactions /s"), [*rows, total])


def peer_table(found: Sequence[PeerFigures], executed: float | None, alone: float | None) -> Table:
    """The others beside ours; ratios are ours to theirs. `alone`: seconds of one of ours at the lowest pace."""
    rows = [("this mesh", "recommendations executed", number(executed), "", ms(alone), "", "")]
    for one in found:
        theirs = one.alone.p50 if one.alone else None
        rows.append(
            (
                one.name,
                one.skipped or one.what,
                number(one.per_second),
                number(ratio(executed, one.per_second), 3),
                ms(theirs),
                number(ratio(alone, theirs)),
                one.setting,
            )
        )
    columns = ("", "what", "a second", "ours/theirs", "one alone p50 ms", "ours/theirs", "setting")
    return table("beside others, same machine and PostgreSQL", columns, rows)


def orchestrator_table(found: Sequence[OrchestratorFigures]) -> Table:
    """Bursts by number of orchestrators."""
    base = found[0].burst.executed_per_second if found else None
    rows = [
        (
            f"{one.orchestrators}{', one killed' if one.killed else ''}{', all stages twice' if one.all_twice else ''}",
            number(one.burst.executed_per_second),
            number(ratio(one.burst.executed_per_second, base), 2),
            ", ".join(f"{name} {count}" for name, count in one.by.items()),
            str(one.twice),
            ends_text(one.burst.ends, one.burst.refused, one.burst.delays),
        )
        for one in found
    ]
    columns = ("orchestrators", "executed /s", "to the first", "ended by", "more than one order", "how they ended")
    return table("several orchestrators", columns, rows)
