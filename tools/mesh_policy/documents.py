"""Manifests as text: YAML in which nothing is abbreviated, so that a reader and a diff see each policy whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from tools.mesh_policy.table import NAMESPACE

HEAD = "Rendered by tools/mesh_policy from the contracts in proto/; change it there."
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest, and above it why it is there."""

    why: str
    body: Body


class _Plain(yaml.SafeDumper):
    """Writes a list that stands twice twice, where YAML would point to the first."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        # A list is set off from its key, as in the manifests that are written by hand.
        super().increase_indent(flow, False)


def manifest(api: str, kind: str, name: str, spec: Body) -> Body:
    """A manifest in the mesh's namespace."""
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def text(documents: Iterable[Document], head: str = HEAD) -> str:
    """A file of manifests, under a line that says who renders it."""
    parts = []
    for document in documents:
        comment = "".join(f"# {line}\n" for line in document.why.splitlines())
        parts.append(comment + yaml.dump(document.body, Dumper=_Plain, sort_keys=False, width=1000, allow_unicode=True))
    return f"# {head}\n" + "---\n".join(parts)
