"""The typed settings every service starts from; subclasses add their own and give `service_name` and `port` defaults.

Every fault is reported at once with its variable, its value (secrets masked), the rule and what to do. Settings are
frozen: what a process was started with is what it runs with.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from meshkit.database_link import DatabaseAddress, SslMode, stays_here
from meshkit.hosts import is_loopback
from meshkit.spiffe import DEFAULT_PREFIX, PREFIX_PATTERN, SpiffeNames
from meshkit.text import MASK, printable, without_passwords

# Key of a field's `json_schema_extra`: what an unset variable means, in words.
UNSET = "unset"
# What each way of proving a caller needs, and why one of them stays on this machine.
_FILES_OF = {
    "token": ("mesh_token_file", "mesh_callers_file"),
    "mtls": ("mesh_certificate_file", "mesh_ca_file"),
}
_CLEAR_TEXT = {"off": "lets every caller act as operator", "token": "takes tokens that travel in clear text"}
_SECRET_WORDS = ("password", "secret", "token", "private", "api_key")


class KitSettings(BaseSettings):
    """Environment variables of the kit, by their upper-case field names without a prefix."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, env_prefix="", env_ignore_empty=True, populate_by_name=True, validate_default=True
    )

    service_name: str = Field(min_length=1, description="name of the service, as policies and logs call it")
    port: int = Field(description="gRPC port; 0 takes any free one")

    mesh_bind: str = Field("127.0.0.1", description="address the gRPC server binds to")
    mesh_token_file: Path | None = Field(None, description="private file with this process's own token")
    mesh_callers_file: Path | None = Field(None, description="private JSON file: SHA-256 of each token → identity")
    mesh_certificate_file: Path | None = Field(
        None, description="private PEM file: this process's key and its certificate, read anew when it is replaced"
    )
    mesh_ca_file: Path | None = Field(None, description="PEM file of the authorities that sign the mesh's certificates")
    mesh_spiffe_prefix: str = Field(
        DEFAULT_PREFIX,
        pattern=PREFIX_PATTERN,
        max_length=200,
        description="what a caller's SPIFFE ID begins with; the rest, its service account, is its name",
    )
    mesh_auth: Literal["off", "token", "mtls", "xfcc"] = Field(
        "off",
        description="how callers are identified: token, which `mesh up` sets; mtls, by their certificates; xfcc, by what the "
        "sidecar of a service mesh forwards of them; or off (loopback only, never real money)",
    )
    mesh_reflection: bool = Field(True, description="offer server reflection, for grpcurl and the like")
    mesh_log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level logged")
    mesh_log_format: Literal["json", "console"] = Field("json", description="json for machines, console for eyes")
    drain_seconds: float = Field(5.0, ge=0, le=300, description="grace given to running calls at shutdown")
    drain_notice_seconds: float = Field(
        0.0, ge=0, le=60, description="wait between NOT_SERVING and closing, for discovery to notice"
    )

    db_host: str = Field("127.0.0.1", min_length=1, description="database host name, or a Unix socket directory")
    db_port: int = Field(5432, ge=1, le=65535, description="database port")
    db_name: str = Field("trading", min_length=1, description="database name")
    db_user: str = Field("postgres", min_length=1, description="database role that enters")
    db_password: SecretStr | None = Field(None, description="password of DB_USER")
    db_role: str | None = Field(
        None,
        min_length=1,
        description="database role that each session takes on once DB_USER has entered, such as mesh_risk; "
        "unset: DB_USER itself",
    )
    db_sslmode: SslMode | None = Field(
        None,
        description="disable, prefer, require, verify-ca or verify-full; unset takes verify-full, and prefer on this machine",
    )
    db_ca_file: Path | None = Field(
        None, description="PEM file of the CA that signed the database's certificate; unset trusts the system's"
    )
    db_pool_size: int = Field(5, ge=1, le=100, description="most connections in the pool of this process")
    db_timeout_seconds: float = Field(5.0, gt=0, le=120, description="longest connect, pool wait and statement")

    otlp_endpoint: str | None = Field(
        None, description="http(s)://host:4318 of an OTLP collector; unset exports nothing"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="HTTP port of /metrics; 0 serves none")

    @property
    def database_address(self) -> DatabaseAddress:
        """Where the database is and how it is entered."""
        password = self.db_password.get_secret_value() if self.db_password is not None else None
        return DatabaseAddress(
            host=self.db_host,
            port=self.db_port,
            name=self.db_name,
            user=self.db_user,
            password=password,
            ssl_mode=self.db_sslmode,
            ca_file=self.db_ca_file,
            role=self.db_role,
        )

    @property
    def known_callers(self) -> frozenset[str]:
        """Names that exist; a subclass that knows them says so. Empty takes every account below the prefix."""
        return frozenset()

    @property
    def spiffe_names(self) -> SpiffeNames:
        """How a certificate names a caller."""
        return SpiffeNames(self.mesh_spiffe_prefix, self.known_callers)

    @property
    def durable(self) -> bool:
        """Whether a commit waits for the disk; a subclass may know of rows that can be made again."""
        return True

    def disagreements(self) -> Iterator[str]:
        """Faults that concern several settings, each good by itself: whole sentences that name the variables. A subclass
        adds its own to its parent's.
        """
        yield from ()

    @model_validator(mode="after")
    def _agree(self) -> Self:
        found = list(self.disagreements())
        if found:
            raise ValueError("\n".join(found))
        return self

    @field_validator("port")
    @classmethod
    def _port(cls, value: int) -> int:
        # A subclass that gives the port its default loses the field's bounds; a validator is inherited.
        if not 0 <= value <= 65535:
            raise ValueError("must be 0 to 65535")
        return value

    @field_validator("mesh_log_level", "mesh_log_format", "mesh_auth", "db_sslmode", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("mesh_auth")
    @classmethod
    def _only_on_loopback(cls, value: str, info: ValidationInfo) -> str:
        bind = info.data.get("mesh_bind")
        why = _CLEAR_TEXT.get(value)
        if why is not None and bind is not None and not is_loopback(bind):
            raise ValueError(f"{value} {why}, so MESH_BIND must be loopback, not {bind}")
        missing = [name.upper() for name in _FILES_OF.get(value, ()) if info.data.get(name) is None]
        if missing:
            raise ValueError(f"{value} needs {' and '.join(missing)}, which `mesh up` makes and names")
        return value

    @field_validator("db_sslmode")
    @classmethod
    def _prefer_stays_here(cls, value: SslMode | None, info: ValidationInfo) -> SslMode | None:
        host = info.data.get("db_host")
        if value is SslMode.PREFER and host is not None and not stays_here(host):
            raise ValueError(
                f"prefer gives the password to whoever answers for {host}, so it is for this machine alone"
            )
        return value

    @field_validator("db_ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("is not a file")
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _http_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value


Settings = TypeVar("Settings", bound=KitSettings)


def load(cls: type[Settings]) -> Settings:
    """Settings from the environment; prints every fault and exits 2 if there is one."""
    try:
        return cls()
    except ValidationError as error:
        sys.stderr.write(report(cls, error) + "\n")
    except SettingsError as error:
        sys.stderr.write(f"configuration: {error}\n")
    raise SystemExit(2)


def report(cls: type[KitSettings], error: ValidationError) -> str:
    """All faults, one line each, under a line that names the service."""
    lines = faults_of(cls, error)
    service = cls.model_fields["service_name"].default
    return "\n  ".join((f"{len(lines)} fault(s) in the configuration of {service or cls.__name__}:", *lines))


def faults_of(cls: type[BaseSettings], error: ValidationError) -> list[str]:
    """Each fault as a line: variable, value, rule and what to do; or the sentence of a fault of several variables.

    Reads the environment again where a variable is wrong by itself: what else does not go together is told as well.
    """
    faults = error.errors(include_url=False, include_context=False)
    lines = []
    wrong: dict[str, FieldInfo | None] = {}
    for fault in faults:
        rule = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:
            lines += [f"{sentence}." for sentence in rule.splitlines()]
            continue
        name, field = _field_of(cls, str(fault["loc"][0]))
        wrong[name] = field
        given = fault["input"] if fault["type"] != "missing" else None
        value = "is not set" if given is None else f"= {_masked(name, field, given)}"
        rule = re.sub("^Input should be ", "must be ", rule)
        wanted = f" Set it to: {field.description}." if field is not None and field.description else ""
        lines.append(f"{_variable(cls, name, field)} {value}: {rule}.{wanted}")
    return lines + (_other_disagreements(cls, wrong) if wrong else [])


def _other_disagreements(cls: type[BaseSettings], wrong: dict[str, FieldInfo | None]) -> list[str]:
    """Faults of several variables are looked for only where each is good by itself, so those that are wrong stand at their
    defaults meanwhile; what is said of them then is no fault of anybody's.
    """
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in wrong.items() if field is not None
    }
    try:
        cls(**defaults)
    except ValidationError as error:
        sentences = [line for fault in error.errors() if not fault["loc"] for line in str(fault["msg"]).splitlines()]
        names = "|".join(re.escape(_variable(cls, name, field)) for name, field in wrong.items())
        told = (sentence.removeprefix("Value error, ") for sentence in sentences)
        return [f"{sentence}." for sentence in told if not re.search(rf"\b({names})\b", sentence)]
    return []


def effective(settings: BaseSettings) -> dict[str, str]:
    """Every setting by its variable name, secrets masked; what `mesh config` prints."""
    return {
        _variable(type(settings), name, field): ("" if name in settings.model_fields_set else default_in_words(field))
        or _masked(name, field, getattr(settings, name))
        for name, field in type(settings).model_fields.items()
    }


def default_in_words(field: FieldInfo) -> str:
    """What holds where nobody sets a variable, for the few whose default is no value of their own; empty for others."""
    extra = field.json_schema_extra
    return str(extra.get(UNSET, "")) if isinstance(extra, dict) else ""


def variable_of(name: str, field: FieldInfo | None) -> str:
    """The environment variable of a field: its alias if it has one, else its name in upper case."""
    alias = field.validation_alias if field is not None else None
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return alias if isinstance(alias, str) else name.upper()


def as_set(value: Any) -> str:
    """A value as a person would set it; empty for none."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(map(as_set, value))
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value if isinstance(value, Enum) else value)


def _variable(cls: type[BaseSettings], name: str, field: FieldInfo | None) -> str:
    prefix = cls.model_config.get("env_prefix", "") if field is None or field.validation_alias is None else ""
    return prefix + variable_of(name, field)


def _field_of(cls: type[BaseSettings], place: str) -> tuple[str, FieldInfo | None]:
    """A fault's location is the field's name or its alias."""
    for name, field in cls.model_fields.items():
        if place in (name, field.validation_alias):
            return name, field
    return place, None


def _masked(name: str, field: FieldInfo | None, value: Any) -> str:
    # A file that holds a secret is named, its content never read.
    secret = not name.lower().endswith("_file") and any(word in name.lower() for word in _SECRET_WORDS)
    secret = secret or (field is not None and "Secret" in str(field.annotation))
    text = without_passwords(printable(as_set(value)))
    return MASK if secret else text if len(text) <= 128 else text[:127] + "…"
