"""Decides what `mesh up` runs: the pair of market and exchange, profile, pace, products and ports.

Choices come from the command line, then from the last start of the same folder, then from the environment, then from
the defaults. What cannot be is refused here, before any process exists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exits import CommandFailed, ExitCode
from cli.instance_file import Instance
from cli.plan import MADE_UP, SIMULATOR_PORT, Ports
from tradekit.bars import GRANULARITY_SECONDS
from tradekit.products import is_product_id, quote_currency
from tradekit.services import MONITOR, PAGE_PORT, SERVICES
from tradekit.settings import DEFAULT_PRODUCTS
from tradekit.states import Profile, Venue

if TYPE_CHECKING:
    from cli.candle_file import CandleFileFacts

SIMULATED, COINBASE, REPLAY_PREFIX = MADE_UP, "coinbase", "replay:"
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


def refuse(message: str, advice: str = "") -> CommandFailed:
    """A refusal of what was asked."""
    return CommandFailed(message, advice, ExitCode.USAGE)


def resolve(
    request: UpRequest,
    stored: Instance | None,
    environment: Mapping[str, str],
    tell: "Callable[[CandleFileFacts], None] | None" = None,
) -> Instance:
    """What will run. Raises CommandFailed with everything the operator needs to know.

    `tell` hears what became of the lines of a candle file that is to be replayed.
    """
    market = _market(request.market) if request.market else stored.market if stored else SIMULATED
    venue = _venue(market, request.live, environment)
    own_database = bool(environment.get("DB_HOST"))
    _same_market(request, market, venue, own_database, stored)
    facts = _facts(market)
    if facts is not None and tell is not None:
        tell(facts)
    granularity = _granularity(stored, facts, environment)
    history = _history(stored, facts, environment)
    ports = _ports(environment)
    return Instance(
        market=market,
        venue=venue,
        profile=_profile(request.profile, stored, environment, venue),
        products=_products(request.products, stored, facts, environment, market),
        granularity=granularity,
        seed=_seed(request.seed, stored, market),
        speed=_speed(request.speed, stored, granularity, venue),
        run_id=stored.run_id if stored else environment.get("RUN_ID") or "main",
        history_bars=history,
        start=stored.start if stored else facts.start_after(history).isoformat() if facts else "",
        own_database=own_database,
        services=ports.of_service,
        simulator_port=ports.simulator,
        page_port=ports.page,
    )


def differences(request: UpRequest, running: Instance) -> list[str]:
    """What the command line asks to be otherwise than it is: the running value, and the one asked for."""
    asked: tuple[tuple[str, object, object], ...] = (
        ("market", running.market, request.market and _market(request.market)),
        ("speed", running.speed, request.speed),
        ("profile", running.profile.value.lower(), request.profile and request.profile.lower()),
        ("products", ",".join(running.products), request.products and ",".join(_product_list(request.products))),
        ("seed", running.seed, request.seed),
        ("venue", running.venue.value, Venue.LIVE.value if request.live else None),
    )
    return [f"{name} {now}, not {wanted}" for name, now, wanted in asked if wanted is not None and wanted != now]


def _market(text: str) -> str:
    if text in (SIMULATED, COINBASE):
        return text
    if text.startswith(REPLAY_PREFIX) and len(text) > len(REPLAY_PREFIX):
        return REPLAY_PREFIX + str(Path(text.removeprefix(REPLAY_PREFIX)).expanduser().resolve())
    raise refuse(f"--market {text} is not known", "say simulated, replay:FILE or coinbase")


def _venue(market: str, live: bool, environment: Mapping[str, str]) -> Venue:
    """Allowed pairs: simulated or replayed candles with the simulated exchange; real candles with paper or live."""
    if not live:
        venue = Venue.PAPER if market == COINBASE else Venue.SIMULATED
    elif market != COINBASE:
        advice = "say --market coinbase --live, or leave --live out"
        raise refuse(f"--live with --market {market} would trade real money on prices that are not real", advice)
    else:
        venue = Venue.LIVE
        _may_go_live(environment)
    asked = environment.get("VENUE", "").upper()
    if asked and asked != venue.value:
        advice = "unset VENUE: --market chooses it, and --live is typed by hand"
        raise refuse(f"VENUE={asked} does not go with --market {market}: its orders go to {venue.value}", advice)
    return venue


def _may_go_live(environment: Mapping[str, str]) -> None:
    missing = []
    key = environment.get("EXCHANGE_KEY_FILE", "")
    if not key or not Path(key).expanduser().is_file():
        missing.append("EXCHANGE_KEY_FILE, the JSON file of an API key that can view and trade but not transfer")
    if not environment.get("LIVE_CONFIRM"):
        missing.append("LIVE_CONFIRM, the UUID of the portfolio whose money may be spent")
    if missing:
        raise refuse("--live spends real money and needs more: " + "; ".join(missing))


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
        advice = "`mesh reset` clears them, or choose another folder with MESH_HOME"
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


def _profile(asked: str | None, stored: Instance | None, environment: Mapping[str, str], venue: Venue) -> Profile:
    text = (asked or "").upper() or (
        stored.profile.value if stored else environment.get("DECISION_PROFILE", "").upper()
    )
    if not text:
        return Profile.EXERCISE if venue is Venue.SIMULATED else Profile.EVIDENCE
    if text not in Profile.__members__:
        raise refuse(f"profile {text.lower()} is not known", "say evidence or exercise")
    if venue is Venue.LIVE and text == Profile.EXERCISE:
        raise refuse("profile exercise is refused with real money: it trades without evidence", "say evidence")
    return Profile(text)


def _products(
    asked: str | None,
    stored: Instance | None,
    facts: "CandleFileFacts | None",
    environment: Mapping[str, str],
    market: str,
) -> tuple[str, ...]:
    text = asked or (",".join(stored.products) if stored else environment.get("PRODUCTS", ""))
    found = _product_list(text)
    if not found:
        known = [product for product in DEFAULT_PRODUCTS if facts is None or product in facts.products]
        found = tuple(known or (facts.products[:6] if facts else ()))
    bad = [product for product in found if not is_product_id(product)]
    if bad:
        raise refuse(f"{', '.join(bad)}: products look like BTC-USD")
    if len({quote_currency(product) for product in found}) != 1:
        raise refuse(f"{', '.join(found)}: all products must be quoted in one currency, the account's")
    if facts is not None:
        from cli.candle_file import require_products

        require_products(Path(market.removeprefix(REPLAY_PREFIX)), found, facts.products)
    return found


def _product_list(text: str) -> tuple[str, ...]:
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


def _ports(environment: Mapping[str, str]) -> Ports:
    faults = []

    def port(variable: str, default: int) -> int:
        text = environment.get(variable, "").strip()
        if text and not (text.isdigit() and 0 < int(text) < 65_536):
            faults.append(f"{variable}={text} is not a port")
            return default
        return int(text) if text else default

    found = Ports(
        {service.name: port(service.port_variable, service.port) for service in SERVICES},
        port("SIM_PORT", SIMULATOR_PORT),
        port(MONITOR.page_variable, PAGE_PORT),
    )
    if faults:
        raise refuse("; ".join(faults), "ports are 1 to 65535")
    return found
