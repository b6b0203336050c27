"""The one panel at the end of a start: where to look, what is simulated, how to stop."""

from rich.console import RenderableType
from rich.panel import Panel
from rich.table import Table

from cli.console import escape
from cli.instance_file import Instance
from cli.status_facts import Switch
from meshkit.policy import OPERATOR
from supervisor.certificate_files import CertificateFiles
from supervisor.home import MeshHome
from tradekit.services import ORCHESTRATOR
from tradekit.states import Profile, Venue

_TRUTH = {
    Venue.PAPER: "orders and money are SIMULATED; prices are Coinbase's own, public and real",
    Venue.SANDBOX: "orders, fills and balances are CANNED by Coinbase's sandbox, plumbing only; prices are Coinbase's own",
    Venue.LIVE: "nothing: REAL MONEY at Coinbase",
}
EXERCISE = "EXERCISE: low fixed thresholds, so that the pipeline has work. No evidence, no advice."


def what_is_simulated(instance: Instance) -> str:
    """One line of truth about market and money."""
    if instance.venue is not Venue.SIMULATED:
        return _TRUTH[instance.venue]
    if instance.market.startswith("replay:"):
        return f"orders and money are SIMULATED; prices are replayed from {instance.market.partition(':')[2]}"
    return f"everything is SIMULATED: market (seed {instance.seed}), orders, and money to play with"


def summary(instance: Instance, home: MeshHome, pid: int, detached: bool, switch: Switch | None) -> RenderableType:
    """What the operator needs to know once everything is up; `switch` is what is in force at the executor."""
    table = Table.grid(padding=(0, 2))
    live = instance.venue is Venue.LIVE
    stop = "mesh down" if detached else "Ctrl-C here, or mesh down from any shell"
    rows = [
        ("page", f"[bold cyan]{instance.page}[/]"),
        ("simulated", f"[bold {'red' if live else 'yellow'}]{what_is_simulated(instance)}[/]"),
        ("profile", f"[bold magenta]{EXERCISE}[/]" if instance.profile is Profile.EXERCISE else "evidence"),
        ("pace", _pace(instance)),
        ("products", ", ".join(instance.products)),
        ("logs", str(home.logs)),
        ("look", "mesh status · mesh explain ID · mesh halt stops trading at once"),
        ("stop", f"{stop} (pid {pid})"),
        (
            "begin anew",
            f"mesh reset deletes {'' if instance.own_database else 'ledger, '}simulated exchange, model, keys and logs",
        ),
    ]
    if instance.mtls:
        rows.insert(-2, ("call it", _grpcurl(instance, home)))
    if switch is not None and switch.state in ("HALTED", "REDUCING"):
        ends = "it ends by itself, see mesh status" if switch.reason else "mesh resume lets it go on"
        rows.insert(1, ("trading", f"[bold red]{switch.state}[/] ({escape(switch.note)}): {ends}"))
    for name, text in rows:
        table.add_row(f"[dim]{name}[/]", text)
    title = "the mesh is up, with REAL MONEY" if live else "the mesh is up"
    return Panel(table, title=title, border_style="red" if live else "green", expand=False)


def _grpcurl(instance: Instance, home: MeshHome) -> str:
    """How a foreign client calls a mesh that knows its callers by certificates."""
    files = CertificateFiles(home.identity)
    own = files.certificate(OPERATOR)
    address = instance.ports.address(ORCHESTRATOR)
    return f"grpcurl -cacert {files.authority} -cert {own} -key {own} {address} list"


def _pace(instance: Instance) -> str:
    if instance.venue is not Venue.SIMULATED:
        return f"bars of {instance.granularity} in real time"
    return f"{instance.speed:g} market seconds per second (bars of {instance.granularity})"
