"""What `mesh up` was started with, kept beside the ledger it made: `instance.json`.

A second start resumes from it, and every other command learns from it where the services are.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.exits import CommandFailed, ExitCode
from cli.plan import Ports
from cli.whole_files import write_draft
from supervisor.home import MeshHome
from tradekit.states import Profile, Venue

HOME_VARIABLE = "MESH_HOME"
DEFAULT_HOME = "~/.trading-mesh"


@dataclass(frozen=True, slots=True)
class Instance:
    """The choices behind an instance. `seed`, `start` and `market` belong to its ledger; the others may change."""

    market: str
    venue: Venue
    profile: Profile
    products: tuple[str, ...]
    granularity: str
    seed: int
    speed: float
    run_id: str
    history_bars: int
    start: str = ""  # first market time of the simulated exchange, ISO 8601; empty: its own default
    own_database: bool = False
    services: Mapping[str, int] = field(default_factory=dict)
    simulator_port: int = 0
    page_port: int = 0
    mtls: bool = False  # callers prove themselves by certificates, not by tokens
    portfolio: str = ""  # with real money the UUID of the portfolio whose money may be spent; else empty

    @property
    def ports(self) -> Ports:
        """Where everything listens."""
        return Ports(dict(self.services), self.simulator_port, self.page_port)

    @property
    def simulates(self) -> bool:
        """Whether its orders go to a simulated exchange of its own."""
        return self.venue not in (Venue.LIVE, Venue.SANDBOX)

    @property
    def page(self) -> str:
        """Address of the page."""
        return f"http://localhost:{self.page_port}"


def mesh_home() -> MeshHome:
    """The state folder of this shell: MESH_HOME, or a folder in the user's home."""
    return MeshHome.at(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


def instance_path(home: MeshHome) -> Path:
    """Where the choices lie."""
    return home.root / "instance.json"


def read_instance(home: MeshHome) -> Instance | None:
    """The choices of the last start; None if there was none. Raises CommandFailed for a damaged file."""
    path = instance_path(home)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return Instance(
            **{
                **raw,
                "venue": Venue(raw["venue"]),
                "profile": Profile(raw["profile"]),
                "products": tuple(raw["products"]),
            }
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        advice = "move the file away and give `mesh up` the options it was first started with"
        raise CommandFailed(f"{path} is not readable: {error}", advice, ExitCode.USAGE) from None


def write_instance(home: MeshHome, instance: Instance) -> None:
    """Replaces the file in one step."""
    write_whole(instance_path(home), json.dumps(asdict(instance), indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """A file that is there whole or not at all, readable by its owner only."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    write_draft(draft, text.encode())
    draft.replace(path)
