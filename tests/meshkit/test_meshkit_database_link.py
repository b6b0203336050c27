"""Who gets the password of the database: a real TLS before a real PostgreSQL, and a thief where it is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest
from postgres_front import PostgresFront, postgres_front
from pydantic import ValidationError

from exchange_sim.tls import TlsFiles, ensure_tls, server_context
from meshkit import database
from meshkit.database_link import DatabaseAddress, SslMode
from meshkit.errors import Misconfigured, Unavailable
from meshkit.notify import Notifications
from tests.meshkit.toys import settings

# Reaches this machine and is no loopback address, so it stands for a server elsewhere.
ELSEWHERE = "0.0.0.0"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return ensure_tls(tmp_path_factory.mktemp("tls"))


def db(front: PostgresFront, host: str, **changes: Any) -> dict[str, Any]:
    return {
        "db_host": host,
        "db_port": front.port,
        "db_name": "postgres",
        "db_user": "postgres",
        "db_password": "hunter2",
        "db_timeout_seconds": 5,
        **changes,
    }


def socket_of(postgres: Any) -> Path:
    return Path(str(postgres.get_postmaster_info().socket_dir)) / ".s.PGSQL.5432"


@pytest.mark.parametrize("offers_tls", [False, True], ids=["no-tls", "unknown-certificate"])
async def test_a_thief_elsewhere_gets_no_password(tls: TlsFiles, offers_tls: bool) -> None:
    async with postgres_front(server_context(tls) if offers_tls else None) as thief:
        chosen = settings(**db(thief, ELSEWHERE))
        with pytest.raises(Unavailable) as refused:
            await database.connect(chosen)
        assert "DB_SSLMODE=verify-full" in refused.value.message
        assert ("DB_CA_FILE" if offers_tls else "offers no TLS") in refused.value.message
        with pytest.raises(Unavailable):
            async with database.create_engine(chosen).connect():
                pass
        with pytest.raises(OSError):
            await asyncpg.connect(**chosen.database_address.arguments("mesh"))
        assert (thief.asked, thief.stolen) == (3, [])


async def test_a_thief_gets_it_only_where_the_operator_says_so_or_on_this_machine() -> None:
    async with postgres_front() as thief:
        for host, mode in ((ELSEWHERE, SslMode.DISABLE), ("127.0.0.1", None)):
            with pytest.raises(Unavailable):
                await database.connect(settings(**db(thief, host, db_sslmode=mode)))
        assert thief.stolen == ["hunter2", "hunter2"]


async def test_the_certificate_is_checked_and_its_name_too(postgres: Any, tls: TlsFiles) -> None:
    async with postgres_front(server_context(tls), socket_of(postgres)) as front:
        trusted = {"db_ca_file": tls.ca, "db_sslmode": "VERIFY-FULL"}
        for host, given in (
            ("127.0.0.1", trusted),
            (ELSEWHERE, {**trusted, "db_sslmode": "verify-ca"}),
            (ELSEWHERE, {"db_sslmode": "require"}),
        ):
            connection = await database.connect(settings(**db(front, host, **given)))
            assert await connection.fetchval("SELECT 1") == 1
            await connection.close()
        for host, given in ((ELSEWHERE, trusted), ("127.0.0.1", {"db_sslmode": "verify-ca"})):
            with pytest.raises(Unavailable, match="is not trusted"):
                await database.connect(settings(**db(front, host, **given)))


async def test_listen_goes_the_same_way(postgres: Any, tls: TlsFiles) -> None:
    async with postgres_front(server_context(tls), socket_of(postgres)) as front:
        chosen = settings(**db(front, "127.0.0.1", db_ca_file=tls.ca, db_sslmode="verify-full"))
        connection = await Notifications(lambda: database.connect(chosen), None)._connect()
        assert connection._protocol.is_ssl
        await connection.close()


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("127.0.0.1", SslMode.PREFER),
        ("::1", SslMode.PREFER),
        ("localhost", SslMode.PREFER),
        ("/run/postgresql", SslMode.PREFER),
        ("db.example", SslMode.VERIFY_FULL),
        ("10.0.0.1", SslMode.VERIFY_FULL),
        ("localhost.example", SslMode.VERIFY_FULL),
        ("127.1", SslMode.VERIFY_FULL),
    ],
)
def test_the_mode_where_none_is_chosen(host: str, mode: SslMode) -> None:
    variables = {"DB_HOST": host, "DB_NAME": "n", "DB_USER": "u"}
    assert settings(db_host=host).database_address.mode is DatabaseAddress.of_variables(variables).mode is mode


def test_variables_of_a_plan_and_settings_give_the_same_address(tls: TlsFiles) -> None:
    variables = {
        "DB_HOST": "db.example",
        "DB_PORT": "6432",
        "DB_NAME": "n",
        "DB_USER": "u",
        "DB_PASSWORD": "p@ss/word",
        "DB_SSLMODE": "Verify-CA",
        "DB_CA_FILE": str(tls.ca),
    }
    chosen = settings(**{name.lower(): value for name, value in variables.items()})
    assert chosen.database_address == DatabaseAddress.of_variables(variables)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"DB_SSLMODE": "verify_full"}, "DB_SSLMODE is verify_full: must be disable, prefer, require, verify-ca,"),
        ({"DB_PORT": "5432x"}, "DB_PORT is 5432x: must be a number of 1 to 65535"),
        ({"DB_PORT": "-1"}, "DB_PORT is -1: must be"),
        ({"DB_PORT": "70000"}, "DB_PORT is 70000: must be"),
    ],
)
def test_a_mistyped_variable_is_told_with_its_rule(wrong: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        DatabaseAddress.of_variables({"DB_HOST": "h", "DB_NAME": "n", "DB_USER": "u", **wrong})


@pytest.mark.parametrize("wrong", [{"db_sslmode": "prefer"}, {"db_sslmode": "yes"}, {"db_ca_file": "/nowhere.pem"}])
def test_what_would_protect_nothing_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        settings(db_host="db.example", **wrong)
