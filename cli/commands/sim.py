"""`mesh sim`: the simulated exchange alone, for whatever trades on Coinbase."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.console import guarded, out
from cli.exits import CommandFailed, ExitCode


class KeyKind(StrEnum):
    """The two kinds of keys that Coinbase hands out."""

    ES256 = "es256"
    ED25519 = "ed25519"


@guarded
def sim(
    port: Annotated[int, typer.Option(help="where it listens, on this machine only", min=1, max=65535)] = 8443,
    market: Annotated[
        str, typer.Option(help="simulated, replay:FILE, or coinbase: its public prices, mirrored")
    ] = "simulated",
    products: Annotated[str, typer.Option(help="such as BTC-USD,ETH-USD; the market's own choice unless named")] = "",
    speed: Annotated[
        float | None,
        typer.Option(
            help="market seconds per second, on a clock of its own; 0: it moves when told; unless named, the simulated market's "
            "time is the wall clock's",
            min=0,
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="of the simulated market", min=0)] = 1,
    cash: Annotated[str, typer.Option(help="dollars in the account of a new exchange")] = "10000",
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="further name in its certificate, such as api.coinbase.com; again for another", show_default=False
        ),
    ] = None,
    throttle: Annotated[bool, typer.Option(help="take 30 requests a second of a key, 10 of an address")] = True,
    key: Annotated[KeyKind, typer.Option(help="the kind of API key that is shown")] = KeyKind.ES256,
    folder: Annotated[
        Path | None, typer.Option(help="its ledger and keys; in MESH_HOME unless named", show_default=False)
    ] = None,
) -> None:
    """Run the simulated exchange alone and show a key for it, so that any Coinbase client can trade there. Ctrl-C ends it."""
    import os

    from cli.instance_file import mesh_home
    from exchange_sim.__main__ import main
    from supervisor.control_token import VARIABLE, control_token_file, ensure_control_token

    root = (folder or mesh_home().root / "sim").expanduser().absolute()
    keys = root / "keys"
    try:
        keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(
            f"{keys} cannot be made: {error.strerror}", "name another --folder", ExitCode.USAGE
        ) from None
    files = _keys(keys)
    chosen = {
        "port": str(port),
        "state_dir": str(root),
        "market": market,
        "products": products,
        "speed": str(1.0 if speed is None else speed),
        "wall_clock": str(speed is None and market == "simulated").lower(),
        "seed": str(seed),
        "opening_usd": cash,
        "names": ",".join(name or ()),
        "keys_file": str(keys / "known.json"),
        "control_token": ensure_control_token(keys, os.environ),
    }
    if throttle:
        chosen |= {"private_rate": "30", "public_rate": "10"}
    _require_good(chosen)
    # What is no option here is the operator's: SIM_TAKER_FEE, SIM_SPREAD_BPS and the like.
    token_at = VARIABLE if os.environ.get(VARIABLE) else control_token_file(keys)
    os.environ.update({f"SIM_{name.upper()}": value for name, value in chosen.items()})
    shown = {
        "host": f"127.0.0.1:{port}",
        "API key": files[key],
        "trust": root / "tls" / "ca.pem",
        "to steer it": f"https://127.0.0.1:{port}/sim/v1/, bearer token in {token_at}",
    }
    raise typer.Exit(main(lambda: _show(shown)))


def _show(facts: dict[str, object]) -> None:
    """What a client needs to know, once there is somebody to talk to."""
    from cli.console import escape

    for label, value in facts.items():
        # A path that is broken over lines cannot be copied.
        out.print(f"{label:<12}{escape(str(value))}", soft_wrap=True)
    out.print("docs/simulated-exchange.md shows clients pointed at it. Ctrl-C ends it; the ledger stays.")


def _keys(folder: Path) -> dict[KeyKind, Path]:
    """Both keys, and the exchange told of both."""
    import json

    from cli.instance_file import write_whole
    from supervisor.exchange_key import ensure_exchange_key
    from supervisor.keys import UnsafeKey, require_private

    files = {kind: folder / f"coinbase_key_{kind.value}.json" for kind in KeyKind}
    try:
        require_private(folder)
        known = [ensure_exchange_key(file, curve=kind is KeyKind.ES256) for kind, file in files.items()]
    except UnsafeKey as error:
        raise CommandFailed(str(error)) from error
    write_whole(folder / "known.json", json.dumps(known, indent=1))
    return files


def _require_good(chosen: dict[str, Any]) -> None:
    """Raises CommandFailed for what the exchange would refuse, by the name of the setting."""
    from pydantic import ValidationError

    from exchange_sim.settings import Settings

    try:
        Settings(**chosen)
    except ValidationError as error:
        faults = [f"{'_'.join(map(str, one['loc']))} is {one['input']!r}: {one['msg']}" for one in error.errors()]
        raise CommandFailed("; ".join(faults), "see mesh sim --help", ExitCode.USAGE) from None
