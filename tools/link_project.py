"""Makes this checkout importable in the running interpreter's virtual environment, with its commands in bin/.

A path file and a launcher of a few lines do it: nothing is built, new packages are seen at once, and because both are
relative the folder may be moved.
"""

import os
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
IMPORTABLE = (ROOT, ROOT / "gen" / "python")
# A shell that becomes Python: a path in the first line would be absolute and limited in length.
LAUNCHER = """#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/python" -P "$0" "$@"
'''
import sys

from {module} import {function}

sys.exit({function}())
"""


def link(site_packages: Path, scripts: Path, entry_points: dict[str, str]) -> None:
    """Writes the path file and one launcher for each entry point `module:function`."""
    lines = [os.path.relpath(folder, site_packages) for folder in IMPORTABLE]
    (site_packages / "trading-mesh.pth").write_text("\n".join(lines) + "\n")
    for name, target in entry_points.items():
        module, _, function = target.partition(":")
        launcher = scripts / name
        launcher.write_text(LAUNCHER.format(module=module, function=function))
        launcher.chmod(0o755)


def main() -> None:
    """Links into the environment of the interpreter that runs this."""
    if sys.prefix == sys.base_prefix:
        raise SystemExit("run this with the Python of a virtual environment")
    with (ROOT / "pyproject.toml").open("rb") as file:
        entry_points = tomllib.load(file)["project"]["scripts"]
    link(Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts")), entry_points)


if __name__ == "__main__":
    main()
