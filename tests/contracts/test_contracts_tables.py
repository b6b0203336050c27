"""Who reads whose table: a service's SQL names its own tables, the views made for it, and functions that it may call."""

import re

import pytest

from schema.ownership import APPEND_ONLY, INSERTED, OWNED, READ, SHARED, access_of
from schema.tables import metadata
from schema.views import readers_of, views
from tests.contracts.contract_walk import ROOT
from tests.contracts.sql_names import named_in_folder, named_in_source
from tradekit.services import SERVICES

NAMES = {service.name for service in SERVICES}
FOLDERS = {**{name: f"svc_{name}" for name in sorted(NAMES)}, **{name: name for name in READ}}


@pytest.mark.parametrize(("reader", "folder"), FOLDERS.items(), ids=list(FOLDERS))
def test_sql_names_only_what_its_reader_may(reader: str, folder: str) -> None:
    found, allowed = named_in_folder(ROOT / folder), access_of(reader)
    assert found.unreadable == []
    assert found.names - allowed.names == set()
    # Nor is there anything that nobody reads.
    assert (allowed.views | allowed.read | allowed.inserted) - found.names == set()


def test_every_table_has_one_owner_and_every_owner_is_a_service() -> None:
    owned = [table.name for tables in (*OWNED.values(), SHARED) for table in tables]
    assert sorted(owned) == sorted(metadata.tables)
    assert set(OWNED) == NAMES
    assert set(INSERTED) <= NAMES


def test_a_view_begins_with_its_reader_or_is_shared_and_is_of_others_tables() -> None:
    for view in views.tables.values():
        readers = readers_of(view)
        assert set(readers) <= {*NAMES, "training"}, view.name
        assert (view.name.partition("_")[0] in FOLDERS) is (len(readers) == 1), view.name
        assert len(readers) > 1 or view.name.startswith(f"{readers[0]}_")


@pytest.mark.parametrize("folder", sorted(READ))
def test_who_is_no_service_writes_nothing(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not re.search(r"\b(INSERT INTO|UPDATE \w+ SET|DELETE FROM|TRUNCATE)\b", path.read_text()), path


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("from schema.execution import orders", "orders"),
        ("from schema.execution import orders as mine", "orders"),
        ("import schema.execution", "orders"),
        ("import schema.execution as b", "orders"),
        ("from schema import execution", "orders"),
        ("from schema import tables", "orders"),
        ("def f():\n    from schema.execution import orders", "orders"),
        ("from schema.views.monitor import monitor_unknown_orders", "monitor_unknown_orders"),
        ("from schema.views import monitor", "orders"),
        ("from schema.trading_state import set_trading_state", "set_trading_state"),
        ("from modelkit import candle_reader", "model_candles"),
        ("from modelkit.candle_reader import history", "model_candles"),
        ('q = text("SELECT 1 FROM orders")', "orders"),
        ('q = text("select 1 from orders")', "orders"),
        ('q = text("SELECT 1 FROM public.orders AS o")', "orders"),
        ("q = 'SELECT 1 FROM \"orders\"'", "orders"),
        ('q = "SELECT 1 FROM given AS g, orders o"', "orders"),
        ('q = "SELECT 1 WHERE EXISTS (TABLE orders)"', "orders"),
        ('q = "DELETE FROM orders"', "orders"),
        ('_T = "orders"\nq = f"SELECT 1 FROM {_T}"', "orders"),
        ('_T = "FROM orders"\nq = "SELECT 1 " + _T', "orders"),
        ('q = table("orders", column("state"))', "orders"),
        ('copy_in(connection, "orders", columns, content)', "orders"),
        ("q = select(func.risk_commit(a, b))", "risk_commit"),
        ('q = text("SELECT risk_commit(:a, :b)")', "risk_commit"),
    ],
)
def test_a_table_of_another_is_found_however_it_is_named(source: str, named: str) -> None:
    found = named_in_source(source)
    assert named in found.names
    assert named not in access_of("market").names


@pytest.mark.parametrize(
    "source",
    [
        'q = f"SELECT 1 FROM {name}"',
        'q = f"SELECT 1 FROM a JOIN {name} USING (id)"',
        'q = "SELECT 1 FROM " + name',
        'q = "INSERT INTO {} VALUES (1)".format(name)',
        'q = "UPDATE %s SET a = 1" % name',
        "from sqlalchemy import table\nq = table(name)",
        "from sqlalchemy import MetaData, Table\nq = Table(name, MetaData(), autoload_with=engine)",
        "from schema.base import metadata\nq = metadata.tables[name]",
        "from schema.tables import metadata",
    ],
)
def test_sql_whose_tables_cannot_be_read_off_is_refused(source: str) -> None:
    assert named_in_source(source).unreadable


@pytest.mark.parametrize(
    "source",
    [
        '"""Reads what FROM orders are."""',
        'raise ValueError("an order from orders")',
        "q = text(\"SELECT pg_notify('orders', '') FROM unnest(:orders)\")",
        'stage = "orders"',
        'q = text("SELECT o.orders FROM o -- FROM orders")',
        "from schema.base import Amount",
        "from schema.recommendation_rows import record_message",
    ],
)
def test_what_names_no_table_is_left_alone(source: str) -> None:
    assert named_in_source(source) == named_in_source("")


@pytest.mark.parametrize("folder", sorted({*FOLDERS.values(), "schema", "modelkit", "meshkit"}))
def test_no_source_changes_what_is_written_once(folder: str) -> None:
    """Nobody has the right to, so it would fail where it runs."""
    names = "|".join(table.name for table in APPEND_ONLY)
    change = re.compile(
        rf"\b(?:UPDATE|DELETE FROM|TRUNCATE)\s+(?:ONLY\s+)?(?:public\.)?({names})\b"
        rf"|\b(?:update|delete)\(\s*({names})\s*\)|\b({names})\.(?:update|delete)\("
    )
    for path in (ROOT / folder).rglob("*.py"):
        if "migrations" not in path.parts:
            assert not change.search(path.read_text()), path
