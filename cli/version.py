"""Which version this is: of the installed package, or of the checkout that runs."""

import tomllib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def version() -> str:
    """Such as 0.1.0."""
    if _CHECKOUT.is_file():
        with _CHECKOUT.open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    try:
        return installed("trading-mesh")
    except PackageNotFoundError:
        return "unknown"
