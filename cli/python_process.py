"""How a process of this program is started in Python: by module, from this program's folders, and from no other.

Without -P, Python looks for modules in the folder it is started in first, where a file named like one of them may lie.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module."""
    return (sys.executable, "-P", "-m", name, *arguments)


def python_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """With what the command needs to find this program; what it starts in turn is as careful."""
    return {**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen' / 'python'}", "PYTHONSAFEPATH": "1"}
