"""The effective configuration of every service: each setting with its value and who decided it.

Built from the very settings classes that the services start with, under the environment that `mesh up` would give them.
"""

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from cli.exits import CommandFailed, ExitCode
from cli.plan import SIMULATOR, MeshPlan
from meshkit.settings import KitSettings, effective, faults_of
from tradekit.services import ServiceName

S = TypeVar("S", bound=KitSettings)


class Origin(StrEnum):
    """Who decided a value."""

    DEFAULT = "default"
    ENVIRONMENT = "environment"
    MESH = "mesh up"


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable; secrets are masked."""

    variable: str
    value: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The settings of a service, or of the simulated exchange, or why they are refused: a line for each fault."""

    service: str
    settings: tuple[Setting, ...]
    faults: tuple[str, ...] = ()


def read_configuration(plan: MeshPlan) -> list[ServiceConfig]:
    """Every service of the plan, and its simulated exchange, if it has one."""
    found = [_read_service(plan, service) for service in plan.services]
    return found if plan.simulator is None else [*found, _read_simulator(plan)]


def told_once(plan: MeshPlan, found: list[ServiceConfig]) -> list[str]:
    """Each fault once, with the services that it is for."""
    refusing: dict[str, list[str]] = {}
    for one in found:
        for line in one.faults:
            refusing.setdefault(line, []).append(one.service)
    everywhere = len(plan.services)
    return [
        f"{line} (for {'every service' if len(names) == everywhere > 1 else ', '.join(names)})"
        for line, names in refusing.items()
    ]


def refuse_faulty(plan: MeshPlan, choices: Sequence[CommandFailed] = ()) -> None:
    """Raises CommandFailed with everything that the plan would be refused for, before anything is started: what is wrong
    with the `choices` it was made from, and every setting that a service would not take.
    """
    lines = told_once(plan, read_configuration(plan))
    if len(choices) == 1 and not lines:
        raise choices[0]
    lines = [*map(as_line, choices), *lines]
    if lines:
        message = "\n  ".join((f"nothing was started: {len(lines)} setting(s) would be refused", *lines))
        raise CommandFailed(message, "mend the variables named above; `mesh config` shows them all", ExitCode.USAGE)


def as_line(failed: CommandFailed) -> str:
    """A refusal in one line of several."""
    return f"{failed.message}; {failed.advice}" if failed.advice else failed.message


def simulated_taker_fee(plan: MeshPlan) -> Decimal:
    """What the simulated exchange of a plan charges a taker, as a share."""
    from exchange_sim.settings import Settings

    with only_environment(plan.simulator_environment()):
        return Settings().taker_fee


def _faults(kind: type[BaseSettings]) -> list[str]:
    """Why the environment of this process does not make these settings; empty if it does."""
    try:
        kind()
    except ValidationError as error:
        return faults_of(kind, error)
    return []


def settings_class(service: ServiceName) -> type[KitSettings]:
    """The class a service builds its settings from."""
    module, name = service.settings_class
    found = getattr(importlib.import_module(module), name)
    if not (isinstance(found, type) and issubclass(found, KitSettings)):
        raise TypeError(f"{module}.{name} is no settings class")
    return found


def settings_of(plan: MeshPlan, service: ServiceName, kind: type[S]) -> S:
    """The settings, of its own `kind`, that a service of the plan would start with. ValidationError where it would not."""
    given, stand_ins = _given(plan, service)
    with only_environment({**given, **dict.fromkeys(stand_ins, __file__)}):
        return kind()


def _given(plan: MeshPlan, service: ServiceName) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """A service's environment, and the files of it that are not there yet."""
    given = plan.environment_of(service)
    return given, {name: path for name, path in given.items() if _is_made_later(plan, name, path)}


def _read_service(plan: MeshPlan, service: ServiceName) -> ServiceConfig:
    given, stand_ins = _given(plan, service)
    with only_environment({**given, **dict.fromkeys(stand_ins, __file__)}):
        values, faults = _values(settings_class(service))
    found = []
    for field_variable, value in values.items():
        variable = service.port_variable if field_variable == "PORT" else field_variable
        shown = f"{stand_ins[variable]} (made by mesh up)" if variable in stand_ins else value
        found.append(Setting(variable, shown, _origin(plan, variable, given)))
    return ServiceConfig(service.name, tuple(found), faults)


def _read_simulator(plan: MeshPlan) -> ServiceConfig:
    from exchange_sim.settings import Settings

    given = plan.simulator_environment()
    with only_environment(given):
        values, faults = _values(Settings)
    found = (Setting(variable, value, _origin(plan, variable, given)) for variable, value in values.items())
    return ServiceConfig(SIMULATOR, tuple(found), faults)


def _values(kind: type[BaseSettings]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The settings that the environment of this process makes, or why it makes none."""
    faults = _faults(kind)
    return ({}, tuple(faults)) if faults else (effective(kind()), ())


def _is_made_later(plan: MeshPlan, variable: str, value: str) -> bool:
    """Key and certificate files that the first start makes; until then their settings would be refused."""
    path = Path(value)
    return variable.endswith("_FILE") and path.is_relative_to(plan.home.root) and not path.exists()


def _origin(plan: MeshPlan, variable: str, given: Mapping[str, str]) -> Origin:
    if not given.get(variable):
        return Origin.DEFAULT
    return Origin.ENVIRONMENT if plan.inherited.get(variable) == given[variable] else Origin.MESH


@contextmanager
def only_environment(environment: Mapping[str, str]) -> Iterator[None]:
    """This process as if it had been started with `environment` alone."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
