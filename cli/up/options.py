"""Decides what `mesh up` runs: the pair of market and exchange, profile, pace, products and ports.

Choices come from the command line, then from the last start of the same folder, then from the environment, then from
the defaults. What cannot be is refused here, before any process exists.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cli.exits import CommandFailed, refuse
from cli.instance_file import Instance
from cli.plan import SIMULATOR_PORT, Ports
from cli.up.venue import COINBASE, SIMULATED, not_another_venue, require_confirmation, venue_of
from tradekit.bars import GRANULARITY_SECONDS
from tradekit.products import is_product_id, quote_currency
from tradekit.services import MONITOR, PAGE_PORT, SERVICES
from tradekit.settings import DEFAULT_PRODUCTS, RUN_ID_PATTERN
from tradekit.states import Profile, Venue

if TYPE_CHECKING:
    from cli.candle_file import CandleFileFacts

REPLAY_PREFIX = "replay:"
# A bar of the simulated market lasts this many wall seconds unless --speed says otherwise.
SECONDS_PER_BAR = 3.0
# A year of hours: enough for three forward folds and every regime of the simulated market.
HISTORY_BARS = 8760
FASTEST = 1_000_000.0
# A seed whose first days give the exercise profile both sides to trade; any other works too, some begin with a long fall.
DEFAULT_SEED = 42


@dataclass(frozen=True, slots=True)
class UpRequest:
    """The command line; None means not said."""

    market: str | None = None
    speed: float | None = None
    profile: str | None = None
    products: str | None = None
    seed: int | None = None
    live: bool = False
    sandbox: bool = False
    mtls: bool | None = None

    @property
    def venue(self) -> Venue | None:
        """The venue that is asked for by its name."""
        return Venue.LIVE if self.live else Venue.SANDBOX if self.sandbox else None


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choices:
    """What would run, and what is wrong with it: a faulty choice stands at its default, so that the rest can be looked at."""

    instance: Instance
    faults: list[CommandFailed] = field(default_factory=list)


def resolve(request: UpRequest, stored: Instance | None, environment: Mapping[str, str]) -> Instance:
    """What will run. Raises the CommandFailed of the first thing that cannot be."""
    found = choose(request, stored, environment)
    if found.faults:
        raise found.faults[0]
    require_confirmation(found.instance.venue, environment)
    return found.instance


def choose(
    request: UpRequest,
    stored: Instance | None,
    environment: Mapping[str, str],
    tell: "Callable[[CandleFileFacts], None] | None" = None,
) -> Choices:
    """What would run, with everything that is wrong with it. Raises CommandFailed where it cannot even be said which market
    or ledger is meant.

    `tell` hears what became of the lines of a candle file that is to be replayed.
    """
    faults: list[CommandFailed] = []

    def good(decide: Callable[[], T], instead: T) -> T:
        try:
            return decide()
        except CommandFailed as failed:
            faults.append(failed)
            return instead

    usual_market = stored.market if stored else SIMULATED if request.venue is None else COINBASE
    market = _market(request.market) if request.market else usual_market
    usual = venue_of(market, live=request.live, sandbox=request.sandbox, environment=environment)
    venue = good(lambda: not_another_venue(usual, market, environment), usual)
    own_database = bool(environment.get("DB_HOST"))
    _same_market(request, market, venue, own_database, stored)
    facts = _facts(market)
    if facts is not None and tell is not None:
        tell(facts)
    usual_bars = stored.granularity if stored else facts.granularity if facts else "ONE_HOUR"
    granularity = good(lambda: _granularity(stored, facts, environment), usual_bars)
    history = good(lambda: _history(stored, facts, environment), _history(stored, facts, {}))
    profile = good(lambda: _profile(request.profile, stored, environment, venue), Profile.EVIDENCE)
    usual_products: tuple[str, ...] = DEFAULT_PRODUCTS
    products = good(lambda: _products(request.products, stored, facts, environment, market), usual_products)
    seed = good(lambda: _seed(request.seed, stored, market), DEFAULT_SEED)
    speed = good(lambda: _speed(request.speed, stored, granularity, venue), 1.0)
    run_id = good(lambda: _run_id(stored, environment), "main")
    ports, bad_ports = _ports(environment)
    faults += bad_ports
    instance = Instance(
        market=market,
        venue=venue,
        profile=profile,
        products=products,
        granularity=granularity,
        seed=seed,
        speed=speed,
        run_id=run_id,
        history_bars=history,
        start=stored.start if stored else facts.start_after(history).isoformat() if facts else "",
        own_database=own_database,
        services=ports.of_service,
        simulator_port=ports.simulator,
        page_port=ports.page,
        portfolio=_portfolio(venue, stored, environment),
        mtls=good(lambda: _mtls(request.mtls, stored, environment), False),
    )
    return Choices(instance, faults)


def differences(request: UpRequest, running: Instance) -> list[str]:
    """What the command line asks to be otherwise than it is: the running value, and the one asked for."""
    asked: tuple[tuple[str, object, object], ...] = (
        ("market", running.market, request.market and _market(request.market)),
        ("speed", running.speed, request.speed),
        ("profile", running.profile.value.lower(), request.profile and request.profile.lower()),
        ("products", ",".join(running.products), request.products and ",".join(product_list(request.products))),
        ("seed", running.seed, request.seed),
        ("venue", running.venue.value, request.venue and request.venue.value),
        ("mtls", _word(running.mtls), None if request.mtls is None else _word(request.mtls)),
    )
    return [f"{name} {now}, not {wanted}" for name, now, wanted in asked if wanted is not None and wanted != now]


def _word(choice: bool) -> str:
    return "on" if choice else "off"


def _market(text: str) -> str:
    if text in (SIMULATED, COINBASE):
        return text
    if text.startswith(REPLAY_PREFIX) and len(text) > len(REPLAY_PREFIX):
        return REPLAY_PREFIX + str(Path(text.removeprefix(REPLAY_PREFIX)).expanduser().resolve())
    raise refuse(f"--market {text} is not known", "say simulated, replay:FILE or coinbase")


def _portfolio(venue: Venue, stored: Instance | None, environment: Mapping[str, str]) -> str:
    """The portfolio whose money was confirmed: now, or at the last start."""
    if venue is not Venue.LIVE:
        return ""
    return environment.get("LIVE_CONFIRM", "") or (stored.portfolio if stored else "")


def _mtls(asked: bool | None, stored: Instance | None, environment: Mapping[str, str]) -> bool:
    """Whether callers prove themselves by certificates: as asked, else as at the last start."""
    set_to = environment.get("MESH_AUTH", "").strip().lower()
    if set_to == "xfcc":
        raise refuse(
            "MESH_AUTH=xfcc believes what a sidecar says, and here any program of this machine could say it",
            "it is for pods with a sidecar; say --mtls for certificates on this machine",
        )
    if asked is not None and set_to not in ("", "mtls" if asked else "token"):
        raise refuse(f"MESH_AUTH={set_to} and --{'' if asked else 'no-'}mtls contradict each other", "leave one out")
    if set_to:
        return set_to == "mtls"
    return asked if asked is not None else stored is not None and stored.mtls


def _same_market(request: UpRequest, market: str, venue: Venue, own_database: bool, stored: Instance | None) -> None:
    """A folder holds the ledger of one market; it is never continued in another."""
    if stored is None:
        return
    faults = []
    if market != stored.market:
        faults.append(f"market {stored.market}, not {market}")
    if venue is not stored.venue:
        faults.append(f"venue {stored.venue.value}, not {venue.value}")
    if request.seed is not None and request.seed != stored.seed:
        faults.append(f"seed {stored.seed}, not {request.seed}")
    if own_database != stored.own_database:
        faults.append("a database at DB_HOST" if stored.own_database else "the embedded database, not of DB_HOST")
    if faults:
        advice = "`mesh reset` deletes all that is in it; or choose another folder with MESH_HOME"
        if stored.venue in (Venue.LIVE, Venue.SANDBOX) and venue is Venue.PAPER:
            option = f"--{stored.venue.value.lower()}"
            advice = f"say {option} again, which no start remembers; or choose another folder with MESH_HOME"
        raise refuse("this folder holds the ledger of " + "; ".join(faults), advice)


def _facts(market: str) -> "CandleFileFacts | None":
    if not market.startswith(REPLAY_PREFIX):
        return None
    from cli.candle_file import read_facts  # its libraries are large, and no other market needs them

    return read_facts(Path(market.removeprefix(REPLAY_PREFIX)))


def _granularity(stored: Instance | None, facts: "CandleFileFacts | None", environment: Mapping[str, str]) -> str:
    wanted = environment.get("GRANULARITY", "")
    if wanted and wanted not in GRANULARITY_SECONDS:
        raise refuse(f"GRANULARITY={wanted} is not one of {', '.join(GRANULARITY_SECONDS)}")
    found = stored.granularity if stored else facts.granularity if facts else wanted or "ONE_HOUR"
    if wanted and wanted != found:
        raise refuse(f"GRANULARITY={wanted}, but this market comes in bars of {found}", "unset it, or `mesh reset`")
    return found


def _history(stored: Instance | None, facts: "CandleFileFacts | None", environment: Mapping[str, str]) -> int:
    text = environment.get("MARKET_HISTORY_BARS", "")
    if text and not (text.isdigit() and 0 < int(text) <= 100_000):
        raise refuse(f"MARKET_HISTORY_BARS={text} is not a number from 1 to 100000")
    wanted = int(text) if text else stored.history_bars if stored else HISTORY_BARS
    # A replayed file needs bars left to trade on.
    return min(wanted, facts.bars * 3 // 5) if facts else wanted


def _run_id(stored: Instance | None, environment: Mapping[str, str]) -> str:
    wanted = environment.get("RUN_ID", "")
    if wanted and not re.match(RUN_ID_PATTERN, wanted):
        raise refuse(f"RUN_ID={wanted}: a name of at most 64 letters, digits, dots, dashes and underscores is needed")
    return stored.run_id if stored else wanted or "main"


def _profile(asked: str | None, stored: Instance | None, environment: Mapping[str, str], venue: Venue) -> Profile:
    named = _known_profile(asked or "", "--profile ")
    # A value that is none is refused even where another decides.
    set_to = _known_profile(environment.get("DECISION_PROFILE", ""), "DECISION_PROFILE=")
    usual = Profile.EXERCISE if venue is Venue.SIMULATED else Profile.EVIDENCE
    found = named or (stored.profile if stored else set_to or usual)
    if venue is Venue.LIVE and found is Profile.EXERCISE:
        raise refuse("profile exercise is refused with real money: it trades without evidence", "say evidence")
    return found


def _known_profile(text: str, source: str) -> Profile | None:
    if text and text.upper() not in Profile.__members__:
        raise refuse(f"{source}{text} is no profile", "say evidence or exercise")
    return Profile(text.upper()) if text else None


def _products(
    asked: str | None,
    stored: Instance | None,
    facts: "CandleFileFacts | None",
    environment: Mapping[str, str],
    market: str,
) -> tuple[str, ...]:
    named = _good_products(asked or "", "--products ")
    # A value that is none is refused even where another decides.
    set_to = _good_products(environment.get("PRODUCTS", ""), "PRODUCTS=")
    found = named or (stored.products if stored else set_to)
    if not found:
        known = [product for product in DEFAULT_PRODUCTS if facts is None or product in facts.products]
        found = tuple(known or (facts.products[:6] if facts else ()))
    if facts is not None:
        from cli.candle_file import require_products

        require_products(Path(market.removeprefix(REPLAY_PREFIX)), found, facts.products)
    return found


def _good_products(text: str, source: str) -> tuple[str, ...]:
    found = product_list(text)
    bad = [product for product in found if not is_product_id(product)]
    if bad:
        raise refuse(f"{source}{text}: {', '.join(bad)} is no product", "products look like BTC-USD")
    if len({quote_currency(product) for product in found}) > 1:
        raise refuse(f"{source}{text}: all products must be quoted in one currency, the account's")
    return found


def product_list(text: str) -> tuple[str, ...]:
    """Products as they are typed, each once."""
    return tuple(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))


def _seed(asked: int | None, stored: Instance | None, market: str) -> int:
    if asked is not None and market != SIMULATED:
        raise refuse(f"--seed has no meaning with --market {market}", "only the simulated market is made from a seed")
    if asked is not None and asked < 0:
        raise refuse("--seed must be 0 or more")
    return asked if asked is not None else stored.seed if stored else DEFAULT_SEED


def _speed(asked: float | None, stored: Instance | None, granularity: str, venue: Venue) -> float:
    """Market seconds per wall second."""
    if venue is not Venue.SIMULATED:
        if asked is not None:
            raise refuse("--speed has no meaning with real prices: they come at their own pace", "leave it out")
        return 1.0
    if asked is not None and not 0 < asked <= FASTEST:
        raise refuse(f"--speed {asked:g} must be above 0 and at most {FASTEST:g} market seconds per second")
    return asked or (stored.speed if stored else GRANULARITY_SECONDS[granularity] / SECONDS_PER_BAR)


def _ports(environment: Mapping[str, str]) -> tuple[Ports, list[CommandFailed]]:
    faults = []

    def port(variable: str, default: int) -> int:
        text = environment.get(variable, "").strip()
        if text and not (text.isdigit() and 0 < int(text) < 65_536):
            faults.append(refuse(f"{variable}={text} is not a port", "ports are 1 to 65535"))
            return default
        return int(text) if text else default

    shared = environment.get("METRICS_PORT", "").strip()
    if shared not in ("", "0"):
        words = f"METRICS_PORT={shared} would be the port of every service, and they all run on this machine"
        faults.append(refuse(words, "leave it out; the page shows the figures that matter"))
    found = Ports(
        {service.name: port(service.port_variable, service.port) for service in SERVICES},
        port("SIM_PORT", SIMULATOR_PORT),
        port(MONITOR.page_variable, PAGE_PORT),
    )
    return found, faults
