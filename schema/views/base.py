"""How a view is declared, and its CREATE VIEW made from that."""

from typing import Any

from sqlalchemy import Column, MetaData, Select, Table, TextualSelect, select
from sqlalchemy.dialects import postgresql

# Apart from the tables: nothing creates these but a migration.
views = MetaData()


def view(name: str, query: Select[Any] | TextualSelect, readers: tuple[str, ...] = ()) -> Table:
    """A view as a table to select from; without `readers` its name begins with that of its one reader."""
    columns = [Column(column.name, column.type) for column in query.selected_columns]
    info = {"query": query, "readers": readers or (name.partition("_")[0],)}
    return Table(name, views, *columns, info=info)


def part(table: Table, names: str) -> Select[Any]:
    """Columns of one table, their names separated by spaces."""
    return select(*(table.c[name] for name in names.split()))


def readers_of(table: Table) -> tuple[str, ...]:
    """Who may select from a view."""
    readers: tuple[str, ...] = table.info["readers"]
    return readers


def create_statement(table: Table) -> str:
    """CREATE VIEW as a migration has it."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    query = table.info["query"].compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    lines = (line.rstrip() for line in str(query).splitlines() if line.strip())
    return "\n".join((f"CREATE VIEW {table.name} AS", *lines))
