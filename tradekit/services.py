"""What each service is and needs: the one place that knows all of them.

Ports, addresses, settings, processes, start and stop order, health names, identities and manifests are made from this
list. A further service is its folder, its contract and its entry here.
"""

from dataclasses import dataclass
from enum import StrEnum

from meshkit.policy import GATEWAY, OPERATOR

# Default port of the page that one service has for people.
PAGE_PORT = 8031


class Need(StrEnum):
    """What a service is given beyond its port, its identity and the addresses of the others; nobody else gets it."""

    # DB_*, and the schema at its newest before the service starts.
    DATABASE = "DATABASE"
    # The model files and the key that proves them.
    MODEL = "MODEL"
    # Public candles of the exchange.
    CANDLES = "CANDLES"
    # The exchange, with the API key that trades.
    ORDERS = "ORDERS"
    # The private and the public half of the key that risk's tickets are signed with.
    TICKET_SIGNING_KEY = "TICKET_SIGNING_KEY"
    TICKET_PUBLIC_KEY = "TICKET_PUBLIC_KEY"
    # A file in which a halt survives by itself.
    HALT_FILE = "HALT_FILE"
    # A second port, for people.
    PAGE = "PAGE"


def database_role(name: str) -> str:
    """The PostgreSQL role that a service acts as, or training, which is none: mesh_risk."""
    return f"mesh_{name}"


TRAINING_ROLE = database_role("training")


@dataclass(frozen=True, slots=True)
class Pod:
    """What one replica takes in a cluster. The CPU asked for is what an idle one uses: a rollout needs it once more on the same
    node, and nothing keeps a busy one from taking what is free. `startup_seconds` is the time until its process answers, on a
    busy node; `alone`: its old pod has ended before a new one begins."""

    cpu: str = "20m"
    memory: str = "192Mi"
    memory_limit: str = "384Mi"
    startup_seconds: int = 300
    alone: bool = False


@dataclass(frozen=True, slots=True)
class ServiceName:
    """One service. `name` is its identity and names its folder, its contract and its classes; `port` is its default.

    `starts_after` are the services that must be up before it can prove itself. Stopping, lower `stop_order` goes first: the
    pipeline drains from its front, no new work first, the ledger last.
    """

    name: str
    port: int
    needs: frozenset[Need] = frozenset({Need.DATABASE})
    starts_after: tuple["ServiceName", ...] = ()
    stop_order: int = 0
    pod: Pod = Pod()
    carries_exits: bool = False
    """An exit passes through it: whatever ails it, it is tried again for as long as the mesh runs, never parked."""
    calls: tuple["ServiceName", ...] = ()
    """Services that it opens a channel to; no other is in reach of its sidecar."""
    asks_health_of: tuple["ServiceName", ...] = ()
    """Services whose standard health it asks for; beside the operator nobody else is let in there by a mesh."""

    @property
    def full_name(self) -> str:
        """Its gRPC service, such as trading.risk.v1.RiskService."""
        return f"trading.{self.name}.v1.{self.name.capitalize()}Service"

    @property
    def contract_module(self) -> str:
        """The generated module of its contract; a channel to it is made from that."""
        return f"trading.{self.name}.v1.{self.name}_service_pb2"

    @property
    def package(self) -> str:
        """Its Python package, such as svc_risk; run as a module it is the service."""
        return f"svc_{self.name}"

    @property
    def database_role(self) -> str:
        """The PostgreSQL role that it acts as, such as mesh_risk."""
        return database_role(self.name)

    @property
    def settings_class(self) -> tuple[str, str]:
        """Module and class of its settings."""
        return f"{self.package}.settings", f"{self.name.capitalize()}Settings"

    @property
    def default_address(self) -> str:
        """Where it is dialled on one machine unless somebody says otherwise."""
        return f"127.0.0.1:{self.port}"

    @property
    def address_field(self) -> str:
        """The settings' field of the address that clients dial."""
        return f"{self.name}_address"

    @property
    def port_variable(self) -> str:
        """Environment variable of the listening port, such as RISK_PORT."""
        return f"{self.name.upper()}_PORT"

    @property
    def address_variable(self) -> str:
        """Environment variable of the address that clients dial, such as RISK_ADDRESS."""
        return self.address_field.upper()

    @property
    def page_variable(self) -> str:
        """Environment variable of the port of its page, such as MONITOR_PAGE_PORT."""
        return f"{self.name.upper()}_PAGE_PORT"


def _needs(*more: Need) -> frozenset[Need]:
    return frozenset({Need.DATABASE, *more})


MARKET = ServiceName("market", 8021, _needs(Need.CANDLES), stop_order=6, pod=Pod(memory="256Mi", memory_limit="512Mi"))
SIGNAL = ServiceName(
    "signal",
    8025,
    _needs(Need.MODEL),
    starts_after=(MARKET,),
    stop_order=2,
    pod=Pod(cpu="50m", memory="512Mi", memory_limit="1Gi", startup_seconds=600),
    calls=(MARKET,),
)
BRIDGE = ServiceName("bridge", 8022, starts_after=(SIGNAL,), stop_order=1, carries_exits=True, calls=(SIGNAL,))
VALIDATOR = ServiceName("validator", 8026, stop_order=4)
RISK = ServiceName("risk", 8027, _needs(Need.TICKET_SIGNING_KEY), starts_after=(MARKET,), stop_order=4)
EXECUTOR = ServiceName(
    "executor",
    8024,
    _needs(Need.ORDERS, Need.TICKET_PUBLIC_KEY, Need.HALT_FILE),
    stop_order=5,
    # Which order is being worked on, a halt that the database does not have yet and how long a send has been watched are kept
    # in the process.
    pod=Pod(alone=True),
    carries_exits=True,
)
ORCHESTRATOR = ServiceName(
    "orchestrator",
    8023,
    starts_after=(VALIDATOR, RISK, EXECUTOR),
    stop_order=3,
    carries_exits=True,
    calls=(VALIDATOR, RISK, EXECUTOR),
    asks_health_of=(EXECUTOR,),
)
_PIPELINE = (MARKET, SIGNAL, BRIDGE, VALIDATOR, RISK, EXECUTOR, ORCHESTRATOR)
MONITOR = ServiceName("monitor", 8030, _needs(Need.PAGE), calls=_PIPELINE, asks_health_of=_PIPELINE)

SERVICES = (*_PIPELINE, MONITOR)

# Everybody that a contract's `*` stands for, by the names that contracts, tokens and service accounts use.
IDENTITIES = (*(service.name for service in SERVICES), OPERATOR, GATEWAY)
