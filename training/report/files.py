"""Writes a report: `report.json` with everything, the figures as PNG, and the page that holds them all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.report.figures import draw
from training.report.page import page


def write_report(document: Mapping[str, Any], folder: Path) -> None:
    """Replaces what an earlier report left under the same names. The page comes last: it stands for the whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    pictures = draw(document)
    for name, content in pictures.items():
        (folder / f"{name}.png").write_bytes(content)
    (folder / "index.html").write_text(page(document, pictures))
