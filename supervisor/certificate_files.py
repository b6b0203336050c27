"""Where an instance's certificates lie. Commands read them; what makes them loads a large library and is a module of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where the certificates of an instance lie."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's own certificate; everybody may read it, and trusts what it signed."""
        return self.folder / "ca.pem"

    @property
    def authority_key(self) -> Path:
        """What signs; nobody but the supervisor reads it."""
        return self.folder / "ca-key.pem"

    def certificate(self, identity: str) -> Path:
        """Key and certificate of one identity."""
        return self.folder / f"{identity}.pem"
