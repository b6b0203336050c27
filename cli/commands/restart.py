"""`mesh restart SERVICE`: ends one process of a running mesh and starts it again, a parked one too."""

from typing import Annotated

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode

_SECONDS = 120.0
_PAUSE_SECONDS = 0.2


@guarded
def restart(service: Annotated[str, typer.Argument(help="a unit of `mesh status`, such as risk")]) -> None:
    """Start one service anew; the others go on."""
    import time

    from cli.calls import require_running
    from cli.instance_file import mesh_home
    from supervisor.restart_request import ask_restart
    from supervisor.state import ServiceState, Status, read_state

    home = mesh_home()

    def unit() -> ServiceState | None:
        state = read_state(home.state_file)
        return next((one for one in state.services if one.name == service), None) if state is not None else None

    require_running(home)
    if read_state(home.state_file) is None:
        raise CommandFailed("run/state.json cannot be read", "the supervisor writes it anew within seconds; try again")
    before = unit()
    if before is None or before.status is Status.DONE:
        state = read_state(home.state_file)
        names = [one.name for one in state.services if one.status is not Status.DONE] if state is not None else []
        raise CommandFailed(
            f"{service} is no unit that can be restarted", f"it is one of {', '.join(names)}", ExitCode.USAGE
        )
    request = ask_restart(home.run, service)
    deadline = time.monotonic() + _SECONDS
    with out.status(f"restarting {service}"):
        while time.monotonic() < deadline:
            now = unit()
            if now is not None and not request.exists() and now.since != before.since:
                if now.status is Status.READY and now.process is not None:
                    out.print(f"[green]{service} is ready[/], pid {now.process.pid}")
                    return
                if now.status is Status.PARKED:
                    again = " again" if before.status is Status.PARKED else ""
                    raise CommandFailed(f"{service} is parked{again}: {now.detail}", f"read {home.log_file(service)}")
            time.sleep(_PAUSE_SECONDS)
    request.unlink(missing_ok=True)
    now = unit()
    seen = f"{now.status.value}: {now.detail or now.last_exit}" if now is not None else "unknown"
    raise CommandFailed(f"{service} is not ready after {_SECONDS:.0f} s ({seen})", f"read {home.log_file(service)}")
