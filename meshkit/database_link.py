"""How a process reaches PostgreSQL: the arguments of every connection, whoever opens it, and what a server must promise.

Two things are not left to the server's or the role's configuration: that a commit is on the disk when it is answered, and
that a password goes to nobody but the server it is meant for.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from meshkit.errors import Misconfigured, shown
from meshkit.hosts import is_loopback

# One look at what the server promises; it is the sign of life of a health check as well.
PROMISES = "SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes"

# What a server answers to a role that it does not have, and to one that is not for whoever entered.
_NO_SUCH_ROLE, _MAY_NOT = "22023", "42501"


class SslMode(StrEnum):
    """libpq's names. `prefer` takes what the server offers and proves nothing, so it is for this machine alone."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is and how it is entered. `host` that begins with a slash is a socket directory; `role` is taken on
    by each session once `user` has entered.
    """

    host: str
    port: int
    name: str
    user: str
    password: str | None = None
    ssl_mode: SslMode | None = None
    ca_file: Path | None = None
    role: str | None = None

    @classmethod
    def of_variables(cls, variables: Mapping[str, str]) -> DatabaseAddress:
        """From the DB_* variables of a plan. Misconfigured if a value cannot be."""
        ca_file = variables.get("DB_CA_FILE")
        return cls(
            host=variables["DB_HOST"],
            port=_port(variables.get("DB_PORT") or "5432"),
            name=variables["DB_NAME"],
            user=variables["DB_USER"],
            password=variables.get("DB_PASSWORD"),
            ssl_mode=_ssl_mode(variables.get("DB_SSLMODE")),
            ca_file=Path(ca_file) if ca_file else None,
            role=variables.get("DB_ROLE") or None,
        )

    @property
    def mode(self) -> SslMode:
        """The mode chosen, else verify-full unless the server is on this machine."""
        return self.ssl_mode or (SslMode.PREFER if stays_here(self.host) else SslMode.VERIFY_FULL)

    def arguments(self, application: str, durable: bool = True) -> dict[str, Any]:
        """Arguments of `asyncpg.connect`; `durable` waits at each commit for the disk. OSError (ssl.SSLError among them) if
        the CA file cannot be used."""
        return {
            "host": self.host,
            "port": self.port,
            "database": self.name,
            "user": self.user,
            "password": self.password,
            "ssl": False if self.host.startswith("/") else _security(self.mode, self.ca_file),
            "server_settings": {
                "application_name": application,
                "timezone": "UTC",
                # What a client asks for at its start beats ALTER ROLE, ALTER DATABASE and postgresql.conf.
                "synchronous_commit": "on" if durable else "off",
                # As SET ROLE, without a statement; RESET ROLE comes back to it.
                **({"role": self.role} if self.role else {}),
            },
        }


def _port(text: str) -> int:
    if not (text.strip().isdecimal() and 1 <= int(text) <= 65535):
        raise Misconfigured(f"DB_PORT is {shown(text)}: must be a number of 1 to 65535")
    return int(text)


def _ssl_mode(text: str | None) -> SslMode | None:
    try:
        return SslMode(text.lower()) if text else None
    except ValueError:
        raise Misconfigured(f"DB_SSLMODE is {shown(text)}: must be {', '.join(SslMode)}, or unset") from None


def stays_here(host: str) -> bool:
    """True for a socket directory and for an address that only this machine can reach."""
    return host.startswith("/") or is_loopback(host)


def broken_promises(row: Mapping[str, str]) -> str:
    """What of PROMISES a server does not keep, with what to do; empty if it keeps all."""
    off = [name for name in ("fsync", "full_page_writes") if row[name] != "on"]
    if not off:
        return ""
    lines = " and ".join(f"{name}=off" for name in off)
    mend = "; ".join(f"ALTER SYSTEM SET {name} = on" for name in off)
    return (
        f"the database runs with {lines}: a power cut can lose or tear what it said was stored. "
        f"As its superuser run: {mend}; SELECT pg_reload_conf()"
    )


def why_not_secure(error: BaseException, address: DatabaseAddress) -> str:
    """What to do about a connection that failed for its TLS; empty if it failed for something else."""
    own = f"DB_SSLMODE={address.mode} for {address.host}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"{own}: its certificate is not trusted ({error.verify_message}); set DB_CA_FILE to the CA's PEM file, "
            "and DB_HOST to a name the certificate is for"
        )
    if isinstance(error, ssl.SSLError):
        return f"{own}: {error.reason or error}; check DB_CA_FILE and the server's TLS"
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return f"{own}: the server offers no TLS; switch it on there (ssl = on), and no password leaves before"
    return ""


def why_not_acting(error: BaseException, address: DatabaseAddress) -> str:
    """What to do about a connection that failed as its session could not take on its role; empty if it failed otherwise."""
    sqlstate = getattr(error, "sqlstate", None) if address.role else None
    if sqlstate == _NO_SUCH_ROLE:
        return f"DB_ROLE={address.role}: the server has no such role; `mesh up` makes it, as every migration does"
    if sqlstate == _MAY_NOT:
        return (
            f"DB_ROLE={address.role}: {address.user} may not act as it; as a superuser run: "
            f"GRANT {address.role} TO {address.user}"
        )
    return ""


@lru_cache(maxsize=8)
def _security(mode: SslMode, ca_file: Path | None) -> ssl.SSLContext | str | bool:
    """Made once: reading the system's authorities takes longer than a connection."""
    if mode is SslMode.DISABLE:
        return False
    if mode is SslMode.PREFER:
        return "prefer"
    context = ssl.create_default_context(cafile=ca_file)
    context.check_hostname = mode is SslMode.VERIFY_FULL
    if mode is SslMode.REQUIRE:
        context.verify_mode = ssl.CERT_NONE
    return context
