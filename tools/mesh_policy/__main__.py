"""Writes istio/generated/ and docs/contract.md; with --check only says whether they are what the contracts give."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "gen" / "python")]

from tools.mesh_policy.rendered import FOLDER, rendered  # noqa: E402
from tools.mesh_policy.table import ContractRefused, contracts, read_rpcs  # noqa: E402


def differences(files: dict[str, str], root: Path) -> list[str]:
    """Paths below `root` that are missing, other than rendered, or not rendered at all."""
    wrong = {path for path, text in files.items() if not (root / path).is_file() or (root / path).read_text() != text}
    return sorted(wrong | _there(root) - set(files))


def write(files: dict[str, str], root: Path) -> None:
    """Writes the files, and takes away from the folder of manifests what is not among them."""
    for left_over in _there(root) - set(files):
        (root / left_over).unlink()
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def _there(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in (root / FOLDER).rglob("*") if path.is_file()}


def main() -> None:
    """Writes or checks; a contract that is refused writes nothing."""
    try:
        files = rendered(read_rpcs(contracts()))
    except ContractRefused as refused:
        raise SystemExit(f"Nothing is generated from these contracts:\n{refused}") from None
    if sys.argv[1:] != ["--check"]:
        write(files, ROOT)
    elif wrong := differences(files, ROOT):
        raise SystemExit(f"{', '.join(wrong)}: not what the contracts give; run make proto and commit.")


if __name__ == "__main__":
    main()
