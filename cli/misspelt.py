"""Variables of the environment that look like one of ours and are none: what somebody meant to set, and did not."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from cli.effective import settings_class
from cli.instance_file import HOME_VARIABLE
from meshkit.settings import variable_of
from tradekit.services import SERVICES

# Share of letters in common; below it another program's variable is as likely.
_LIKENESS = 0.85
# A shorter name is like many.
_SHORTEST = 6


def known_variables() -> frozenset[str]:
    """Every variable that a service, the simulated exchange or a command reads."""
    from exchange_sim.settings import Settings

    found = {HOME_VARIABLE, *(one.port_variable for one in SERVICES)}
    for service in SERVICES:
        found |= {variable_of(name, field) for name, field in settings_class(service).model_fields.items()}
    prefix = str(Settings.model_config.get("env_prefix", ""))
    found |= {prefix + variable_of(name, field) for name, field in Settings.model_fields.items()}
    return frozenset(found)


def misspelt(environment: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """A sentence for each variable that nobody reads and that is almost one that somebody does."""
    names = sorted(known)
    others = sorted(name for name in set(environment).difference(names) if len(name) >= _SHORTEST)
    return [
        f"{name} is set and nobody reads it; {meant} is the variable, if that is what was meant"
        for name in others
        for meant in get_close_matches(name, names, n=1, cutoff=_LIKENESS)
    ]
