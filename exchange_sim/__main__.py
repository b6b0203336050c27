"""`python -m exchange_sim`: settings from SIM_* variables; exit code 2 means mend them."""

import asyncio
import logging
import sys
from collections.abc import Callable

from pydantic import ValidationError

from candle_files.rows import UnusableFile
from exchange_sim.auth import UnusableKeys
from exchange_sim.exchange import ForeignState
from exchange_sim.fault_plan import BadPlan
from exchange_sim.market import MarketUnavailable, UnknownProduct
from exchange_sim.run import BadSettings, serve
from exchange_sim.settings import Settings
from exchange_sim.state import StateInUse

_OPERATOR_MUST_ACT = (ForeignState, StateInUse, UnknownProduct, UnusableFile, UnusableKeys, BadSettings, BadPlan)


def _variable(location: tuple[int | str, ...]) -> str:
    return "_".join(str(part) for part in location).upper()


def _stop(code: int, *lines: str) -> int:
    sys.stderr.writelines(f"exchange_sim: {line}\n" for line in lines)
    return code


def main(on_listening: Callable[[], None] | None = None) -> int:
    """Runs until a signal and gives the exit code; `on_listening` is called once clients are answered."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(Settings(), on_listening))
    except ValidationError as error:
        return _stop(2, *(f"SIM_{_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors()))
    except _OPERATOR_MUST_ACT as error:
        return _stop(2, str(error))
    except (MarketUnavailable, OSError) as error:
        return _stop(1, str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
