"""Writes docs/configuration.md from the settings classes: every variable, its default and what it means.

The classes are the truth; a test fails when the page is not what they say.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "gen" / "python")]

from pydantic import AliasChoices, SecretStr  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402
from pydantic_settings import BaseSettings  # noqa: E402

from cli.effective import settings_class  # noqa: E402
from exchange_client import ExchangeSettings  # noqa: E402
from exchange_sim.settings import Settings as SimulatorSettings  # noqa: E402
from meshkit.settings import KitSettings, as_set, default_in_words  # noqa: E402
from tradekit.services import SERVICES, ServiceName  # noqa: E402
from tradekit.settings import TradingSettings  # noqa: E402

PAGE = ROOT / "docs" / "configuration.md"
Section = tuple[str, type[BaseSettings], tuple[type[BaseSettings], ...]]


def section_of(service: ServiceName) -> Section:
    """What a service adds to the class that it builds on."""
    own = settings_class(service)
    base = ExchangeSettings if issubclass(own, ExchangeSettings) else TradingSettings
    return service.name.capitalize(), own, (base,)


# Each section lists what its class adds to the classes it builds on.
SECTIONS: tuple[Section, ...] = (
    ("Every service", KitSettings, ()),
    ("Every service: what is traded, and where the others are", TradingSettings, (KitSettings,)),
    ("Market and executor: the exchange", ExchangeSettings, (TradingSettings,)),
    *(section_of(service) for service in SERVICES),
    ("Simulated exchange", SimulatorSettings, ()),
)
HEAD = """\
# Configuration

Every process reads environment variables, by the same names on one machine and in the ConfigMap `crypto-trading-config`.
A wrong value ends the start: all faults are printed at once, each with its variable, its value, the rule and what to do.
`mesh up` and `mesh replay` set what belongs together (ports, addresses, database, keys, venue) by themselves; `mesh config`
prints what is in force, secrets masked.

This page is written from the settings classes by `tools/configuration_page.py`.
"""

# Words for the fields whose classes hold many numbers of one kind and describe them together.
MEANINGS = {
    "SIM_PORT": "HTTPS port",
    "SIM_BIND": "address it binds to",
    "SIM_NAMES": "further names in its certificate, separated by commas, for clients that are led to it by them",
    "SIM_WALL_CLOCK": "true: market time is the wall clock's; of the simulated market only",
    "SIM_STATE_DIR": "folder of its ledger, clock and certificate",
    "SIM_MARKET": "simulated, replay:FILE or coinbase (public prices, mirrored)",
    "SIM_PRODUCTS": "products; unset takes the market's own",
    "SIM_SEED": "seed of the generated market",
    "SIM_SPEED": "market seconds per wall second; 0 moves only when told",
    "SIM_START": "market time at the start, with offset",
    "SIM_HISTORY_DAYS": "days of market before the start",
    "SIM_OPENING_USD": "opening balance",
    "SIM_TAKER_FEE": "taker fee, share",
    "SIM_MAKER_FEE": "maker fee, share",
    "SIM_SPREAD_BPS": "spread between bid and ask, basis points",
    "SIM_KEYS_FILE": "API keys it knows, public halves",
    "SIM_PLAN_FILE": "JSON file of faults and habits that it has from the start; unset: none",
    "SIM_CONTROL_TOKEN": "token of the paths that steer its market; unset, `mesh up` and `mesh sim` make one: "
    "[where it lies](simulated-exchange.md#to-steer-it)",
    "SIM_SETTLE_DELAY_SECONDS": "wait between a fill and its settlement",
    "SIM_PRIVATE_RATE": "requests a second that it takes of a key; 0 is no limit, on the venue it is 30",
    "SIM_PUBLIC_RATE": "requests a second that it takes of an address without a key; 0 is no limit, on the venue it is 10",
    "SIM_UPSTREAM_URL": "where public prices are mirrored from",
}


def variable(name: str, field: FieldInfo, prefix: str) -> str:
    """The environment variable of a field."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return alias if isinstance(alias, str) else f"{prefix}{name}".upper()


def default_of(field: FieldInfo) -> str:
    """The default as a person would set it."""
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    return default_in_words(field) or ("unset" if isinstance(value, SecretStr) else as_set(value) or "unset")


def meaning(name: str, field: FieldInfo, own: str) -> str:
    """What the variable `own` means: the field's description, or the words for it here."""
    if name.endswith("_address"):
        return f"where {name.removesuffix('_address')} is dialled"
    return (field.description or MEANINGS[own]).replace("|", "\\|")


def section(title: str, cls: type[BaseSettings], bases: tuple[type[BaseSettings], ...]) -> str:
    """The table of one class."""
    known = {name for base in bases for name in base.model_fields}
    own_port = {"port"} if cls is not KitSettings else set()
    lines = [f"\n## {title}\n", "| variable | default | meaning |", "|---|---|---|"]
    for name, field in cls.model_fields.items():
        if name == "service_name" or (name in known - own_port) or (cls is KitSettings and name == "port"):
            continue
        if name == "port" and not isinstance(field.validation_alias, AliasChoices) and cls is not SimulatorSettings:
            continue
        prefix = str(cls.model_config.get("env_prefix", ""))
        own = variable(name, field, prefix)
        text = "gRPC port" if name == "port" and cls is not SimulatorSettings else meaning(name, field, own)
        lines.append(f"| `{own}` | `{default_of(field)}` | {text} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The whole page."""
    return HEAD + "".join(section(*entry) for entry in SECTIONS)


if __name__ == "__main__":
    PAGE.write_text(page())
