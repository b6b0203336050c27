"""Names of the mesh in X.509 certificates and in what a sidecar forwards of them: SPIFFE IDs.

`spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT` is the name that Istio gives a service account; here the account's name is
the caller's name. https://spiffe.io/docs/latest/spiffe-specs/spiffe-id/
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_PREFIX = "spiffe://cluster.local/ns/crypto-trading/sa/"
PREFIX_PATTERN = r"^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*/$"
_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LONGEST_SHOWN = 200


class NotOfThisMesh(ValueError):
    """A SPIFFE ID names nobody of this mesh; the text says why."""


@dataclass(frozen=True, slots=True)
class SpiffeNames:
    """The names under one prefix; `known` are those that exist, empty takes every account of the prefix."""

    prefix: str = DEFAULT_PREFIX
    known: frozenset[str] = frozenset()

    def id_of(self, name: str) -> str:
        """The SPIFFE ID of a name."""
        return self.prefix + name

    def name_of(self, spiffe_id: str) -> str:
        """The name in a SPIFFE ID. Raises NotOfThisMesh."""
        shown = ascii(spiffe_id[:_LONGEST_SHOWN])
        if not spiffe_id.startswith(self.prefix):
            raise NotOfThisMesh(f"{shown} is not below {self.prefix}")
        name = spiffe_id.removeprefix(self.prefix)
        if _ACCOUNT.fullmatch(name) is None:
            raise NotOfThisMesh(f"{shown} does not end with the name of one account")
        if self.known and name not in self.known:
            raise NotOfThisMesh(f"{shown} is no identity of this mesh; those are {', '.join(sorted(self.known))}")
        return name
