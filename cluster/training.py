"""The training of a cluster: `python -m cluster.training`, with the variables of `training.train_job`.

A Job starts at once with everything else, so it waits until the market service has stored its history. A usable model that is
there is kept: whoever wants another one says so to `training.train_job` itself.
"""

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path

import asyncpg
from pydantic import Field

from cli.up.check_model import verdict
from meshkit.database_link import DatabaseAddress
from meshkit.settings import load
from training import train_job

_LOOK_SECONDS = 2.0
# A first history takes a minute or two; a market service that has none by then needs somebody to look at it.
_LONGEST_SECONDS = 1800.0
_MARKET = "SELECT as_of FROM watermarks WHERE stage = 'market'"


class ClusterTrainingSettings(train_job.TrainJobSettings):
    """Those of the training, and what proves the model that is there."""

    model_public_key_file: Path = Field(description="Ed25519 public key (PEM) that manifests are signed with")


async def wait_for_market(address: DatabaseAddress, seconds: float = _LONGEST_SECONDS) -> bool:
    """Until the market service has published its watermark; False if it did not in time.

    Each look is a connection of its own: the database may not be there yet, nor the table.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection = await asyncpg.connect(**address.arguments("train"), timeout=5)
            try:
                if await connection.fetchval(_MARKET, timeout=10) is not None:
                    return True
            finally:
                await connection.close(timeout=2)
        await asyncio.sleep(_LOOK_SECONDS)
    return False


def kept_model(settings: ClusterTrainingSettings) -> str:
    """The version of a model that serves these products; empty where one has to be trained."""
    products = {str(product) for product in settings.products}
    where = (settings.model_out, settings.model_public_key_file, settings.granularity_seconds)
    found = verdict(*where, products, "")
    known = found["products"]
    serves = found["usable"] and isinstance(known, list) and products <= set(known)
    return str(found["model_version"]) if serves else ""


def main() -> None:
    """Exit code as of `training.train_job`; 1 if the market has no history."""
    settings = load(ClusterTrainingSettings)
    if version := kept_model(settings):
        train_job.tell("kept", 1.0, model_version=version)
    elif asyncio.run(wait_for_market(settings.database_address)):
        train_job.main()
    else:
        sys.exit("the market service has stored no history; see its log")


if __name__ == "__main__":
    main()
