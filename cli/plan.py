"""What one instance of the mesh is: venue, ports, folders and the environment of each process.

Pure but for the folder names: the same plan gives the same processes. `up` and `replay` differ only in their plans.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from meshkit.database_link import DatabaseAddress
from meshkit.policy import OPERATOR
from meshkit.spiffe import DEFAULT_PREFIX, SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.dial import Dial, plainly, with_certificate
from supervisor.home import MeshHome
from supervisor.identities import IdentityFiles
from supervisor.keys import KeyFiles
from tradekit.bars import GRANULARITY_SECONDS
from tradekit.products import market_factor
from tradekit.services import PAGE_PORT, SERVICES, Need, ServiceName
from tradekit.states import Profile, Venue

SIMULATOR = "exchange_sim"
# The market that the simulated exchange makes up by itself; every other one is recorded or mirrored.
MADE_UP = "simulated"
SIMULATOR_PORT = 8443
LOOPBACK = "127.0.0.1"
TOKEN_AUTH = "token"
MTLS_AUTH = "mtls"
# How a process becomes its role in the database: it enters as it, or it enters as DB_USER and takes it on.
ENTERS_AS, TAKES_ON = "DB_USER", "DB_ROLE"
# A simulator on the same machine needs no protection from us; the real exchange's limits are the client's default.
SIMULATOR_RATE = "2000"
# Variables that a plan decides; those of the caller's environment must not reach the processes beside them.
_OWNED_PREFIXES = (
    *("DB_", "SIM_", "EXCHANGE_", "MODEL_", "TICKET_", "LIVE_CONFIRM"),
    *("MESH_ANNOUNCE_", "MESH_AUTH", "MESH_TOKEN_FILE", "MESH_CALLERS_FILE", "MESH_CERTIFICATE_FILE", "MESH_CA_FILE"),
)
# The simulator that mirrors real prices reaches them as the operator's other programs do.
_NETWORK = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "SSL_CERT_FILE")
_BASIC = ("PATH", "HOME", "LANG", "TMPDIR", "GRPC_ENABLE_FORK_SUPPORT")


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port of an instance."""

    of_service: Mapping[str, int]
    simulator: int = SIMULATOR_PORT
    page: int = PAGE_PORT

    def address(self, service: ServiceName) -> str:
        """Where a service of this instance is dialled."""
        return f"{LOOPBACK}:{self.of_service[service.name]}"


@dataclass(frozen=True, slots=True)
class SimulatorPlan:
    """How the simulated exchange runs; speed 0 means that its market moves only when told."""

    market: str
    speed: float
    seed: int = 1
    start: datetime | None = None
    history_days: int | None = None


@dataclass(frozen=True, slots=True)
class MeshPlan:
    """One instance. `database` is how its owner enters, who migrates it; a service enters as its own role."""

    home: MeshHome
    venue: Venue
    profile: Profile
    products: tuple[str, ...]
    granularity: str
    run_id: str
    ports: Ports
    keys: KeyFiles
    database: Mapping[str, str]
    control_token: str
    simulator: SimulatorPlan | None
    portfolio: str = ""  # with real money: whose was confirmed
    mtls: bool = False  # callers prove themselves by certificates
    role_variable: str = ENTERS_AS  # which the embedded database lets a role do that has no password
    services: tuple[ServiceName, ...] = SERVICES
    inherited: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def database_address(self) -> DatabaseAddress:
        """Where the database is and how its owner enters. Misconfigured if a variable cannot be."""
        return DatabaseAddress.of_variables(self.database)

    def database_environment(self, role: str) -> dict[str, str]:
        """How a process that acts as a role of its own enters the database."""
        return {**self.database, self.role_variable: role}

    @property
    def simulator_folder(self) -> Path:
        """State of the simulated exchange: its ledger, clock and certificate."""
        return self.home.root / "exchange_sim"

    @property
    def simulator_ca(self) -> Path:
        """The authority that signed the simulated exchange's certificate."""
        return self.simulator_folder / "tls" / "ca.pem"

    @property
    def simulator_host(self) -> str:
        """Host and port of the simulated exchange."""
        return f"{LOOPBACK}:{self.ports.simulator}"

    @property
    def simulator_keys(self) -> Path:
        """The API keys that the simulated exchange knows, public halves."""
        return self.home.root / "exchange_sim_keys.json"

    @property
    def real_exchange(self) -> str:
        """Host of the real exchange: the one that the operator names for real money, else the default, whose prices paper
        trading mirrors. A name that no adapter has, the services' settings refuse."""
        # A simulated market needs no exchange, and a supervisor of one none of the libraries that come with it.
        from exchange_client.adapters import ADAPTERS
        from exchange_client.config import DEFAULT

        named = self.inherited.get("EXCHANGE_NAME", "") if self.simulator is None else ""
        return str(ADAPTERS.get(named, ADAPTERS[DEFAULT]).live_host)

    @property
    def sandbox_exchange(self) -> str:
        """Host of the real exchange's sandbox; where it has none, the services' settings refuse the exchange itself."""
        from exchange_client.adapters import ADAPTERS
        from exchange_client.config import DEFAULT

        adapter = ADAPTERS.get(self.inherited.get("EXCHANGE_NAME", ""), ADAPTERS[DEFAULT])
        return str(adapter.sandbox_host or adapter.live_host)

    @property
    def live_key(self) -> Path:
        """The operator's own API key of the real exchange."""
        return Path(self.inherited.get("EXCHANGE_KEY_FILE", "")).expanduser()

    @property
    def auth(self) -> str:
        """How callers are identified: by tokens, unless the operator says otherwise."""
        usual = MTLS_AUTH if self.mtls else TOKEN_AUTH
        return (self.inherited.get("MESH_AUTH") or usual).strip().lower()

    @property
    def identities(self) -> IdentityFiles:
        """Where the tokens lie."""
        return IdentityFiles(self.home.identity)

    @property
    def certificates(self) -> CertificateFiles:
        """Where the certificates lie."""
        return CertificateFiles(self.home.identity)

    @property
    def spiffe_names(self) -> SpiffeNames:
        """How a certificate names its owner."""
        return SpiffeNames(self.inherited.get("MESH_SPIFFE_PREFIX") or DEFAULT_PREFIX)

    @property
    def dial(self) -> Dial:
        """How the supervisor reaches a service: as the operator."""
        if self.auth != MTLS_AUTH:
            return plainly
        return with_certificate(self.certificates, OPERATOR)

    def identity_environment(self, service: ServiceName) -> dict[str, str]:
        """How a service knows its callers and shows who it is; only its own token or certificate is named to it."""
        found = {"MESH_AUTH": self.auth}
        if self.auth == TOKEN_AUTH:
            found["MESH_TOKEN_FILE"] = str(self.identities.token(service.name))
            found["MESH_CALLERS_FILE"] = str(self.identities.callers)
        if self.auth == MTLS_AUTH:
            found["MESH_CERTIFICATE_FILE"] = str(self.certificates.certificate(service.name))
            found["MESH_CA_FILE"] = str(self.certificates.authority)
            if Need.PAGE in service.needs:
                # Whoever acknowledges an alert on the page shows no certificate there, but the operator's token.
                found["MESH_CALLERS_FILE"] = str(self.identities.callers)
        return found

    @property
    def model_folder(self) -> Path:
        """Where balanced_model.joblib lies."""
        return Path(self.extra.get("MODEL_DIR", str(self.home.root / "model")))

    @property
    def granularity_seconds(self) -> int:
        """Length of a bar in seconds."""
        return GRANULARITY_SECONDS[self.granularity]

    def common_environment(self) -> dict[str, str]:
        """What every process of the instance gets."""
        owned = {service.port_variable for service in SERVICES} | {service.address_variable for service in SERVICES}
        # Without its cache of compiled modules every process would spend seconds of its start on compiling.
        owned.add("PYTHONDONTWRITEBYTECODE")
        kept = {
            name: value
            for name, value in self.inherited.items()
            if name not in owned and not name.startswith(_OWNED_PREFIXES)
        }
        addresses = {service.address_variable: self.ports.address(service) for service in SERVICES}
        return {
            **kept,
            **addresses,
            "RUN_ID": self.run_id,
            "VENUE": self.venue.value,
            "DECISION_PROFILE": self.profile.value,
            "PRODUCTS": ",".join(self.products),
            "GRANULARITY": self.granularity,
            "GRPC_VERBOSITY": "ERROR",
            "PYTHONUNBUFFERED": "1",
        }

    def exchange_environment(self, with_key: bool) -> dict[str, str]:
        """How a service reaches the exchange; only the executor gets the key."""
        if self.simulator is None:
            found = {name: value for name, value in self.inherited.items() if name.startswith("EXCHANGE_")}
            key = found.pop("EXCHANGE_KEY_FILE", "")
            found["EXCHANGE_HOST"] = self.real_exchange
            if self.venue is Venue.SANDBOX and with_key:
                # It asks for no key and answers to any: a real one has no business there.
                found["EXCHANGE_HOST"], key = self.sandbox_exchange, str(self.keys.exchange_api_key)
            return {**found, "EXCHANGE_KEY_FILE": key} if with_key else found
        found = {
            "EXCHANGE_HOST": self.simulator_host,
            "EXCHANGE_CA_FILE": str(self.simulator_ca),
            "EXCHANGE_RATE_PER_SECOND": SIMULATOR_RATE,
        }
        return {**found, "EXCHANGE_KEY_FILE": str(self.keys.exchange_api_key)} if with_key else found

    def candles_environment(self) -> dict[str, str]:
        """Candles come from the exchange that orders go to, but for paper trading: there they are the real ones."""
        if self.venue is Venue.PAPER:
            return {"EXCHANGE_HOST": self.real_exchange, "MARKET_SIMULATED": "false"}
        made_up = self.simulator is not None and self.simulator.market == MADE_UP
        return {**self.exchange_environment(with_key=False), "MARKET_SIMULATED": str(made_up).lower()}

    def orders_environment(self) -> dict[str, str]:
        """The exchange with the key, and for real money the operator's confirmation."""
        found = self.exchange_environment(with_key=True)
        if self.venue is Venue.LIVE:
            found["LIVE_CONFIRM"] = self.portfolio
        return found

    def model_environment(self) -> dict[str, str]:
        """The model's folder, and the key that proves what lies there."""
        return {"MODEL_DIR": str(self.model_folder), "MODEL_PUBLIC_KEY_FILE": str(self.keys.model_public)}

    def environment_of(self, service: ServiceName) -> dict[str, str]:
        """The whole environment of one service: what all get, what proves it, and what it needs."""
        own: dict[str, str] = {service.port_variable: str(self.ports.of_service[service.name])}
        own |= self.identity_environment(service)
        for need in service.needs:
            own |= self._environment_for(need, service)
        return {**self.common_environment(), **own, **self.extra}

    def _environment_for(self, need: Need, service: ServiceName) -> dict[str, str]:
        match need:
            case Need.DATABASE:
                return self.database_environment(service.database_role)
            case Need.CANDLES:
                return self.candles_environment()
            case Need.ORDERS:
                return self.orders_environment()
            case Need.MODEL:
                return self.model_environment()
            case Need.TICKET_SIGNING_KEY:
                return {"TICKET_SIGNING_KEY_FILE": str(self.keys.ticket_private)}
            case Need.TICKET_PUBLIC_KEY:
                return {"TICKET_PUBLIC_KEY_FILE": str(self.keys.ticket_public)}
            case Need.HALT_FILE:
                return {"HALT_FILE": str(self.home.halt_file)}
            case Need.PAGE:
                return {service.page_variable: str(self.ports.page)}

    @property
    def simulator_products(self) -> tuple[str, ...]:
        """What the simulated exchange lists: the market factor too, where it makes the market, as every feature needs it."""
        made_here = self.simulator is not None and self.venue is not Venue.PAPER
        factors = map(market_factor, self.products) if made_here else ()
        return tuple(dict.fromkeys((*self.products, *factors)))

    def simulator_environment(self) -> dict[str, str]:
        """The whole environment of the simulated exchange: its own SIM_* variables, and of the mesh nothing but its keys."""
        if self.simulator is None:
            raise ValueError("this plan has no simulated exchange")
        plan = self.simulator
        kept = {name: self.inherited[name] for name in (*_BASIC, *_NETWORK) if name in self.inherited}
        found = {
            **{name: value for name, value in self.inherited.items() if name.startswith(("OPENBLAS_", "SIM_"))},
            **kept,
            "SIM_PORT": str(self.ports.simulator),
            "SIM_STATE_DIR": str(self.simulator_folder),
            "SIM_MARKET": plan.market,
            "SIM_SPEED": str(plan.speed),
            "SIM_SEED": str(plan.seed),
            "SIM_PRODUCTS": ",".join(self.simulator_products),
            "SIM_KEYS_FILE": str(self.simulator_keys),
            "SIM_CONTROL_TOKEN": self.control_token,
            "PYTHONUNBUFFERED": "1",
        }
        # What is not decided here is the operator's: SIM_TAKER_FEE, SIM_SPREAD_BPS, SIM_OPENING_USD and the like. Where it
        # listens is decided: the services dial loopback.
        found.pop("SIM_BIND", None)
        if plan.start is not None:
            found["SIM_START"] = plan.start.isoformat()
        if plan.history_days is not None:
            found["SIM_HISTORY_DAYS"] = str(plan.history_days)
        return found
