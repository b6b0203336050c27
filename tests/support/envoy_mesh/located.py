"""YAML whose mappings know where they stand, so that whatever is refused is refused with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class ManifestRefused(Exception):
    """Manifests that no sidecar is configured from; `faults` has a line for each fault."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Fields(dict[str, Any]):
    """A mapping of a manifest that knows on which line of its file each key stands; one that is missing is refused."""

    def __init__(self, file: str, line: int) -> None:
        super().__init__()
        self._file = file
        self._line = line
        self._lines: dict[str, int] = {}

    def __missing__(self, key: str) -> Any:
        raise ManifestRefused([f"{self.place()}: {key} is needed here"])

    def place(self, key: str = "") -> str:
        """File and line of a key, or of the mapping itself."""
        return f"{self._file}:{self._lines.get(key, self._line)}"

    def put(self, key: str, value: Any, line: int) -> None:
        """Adds a key that is read on a line."""
        if key in self:
            raise ManifestRefused([f"{self._file}:{line}: {key} stands here a second time"])
        self[key] = value
        self._lines[key] = line


def read_text(text: str, file: str) -> list[Fields]:
    """The documents of one file; `file` is how faults name it. ManifestRefused for text that is no YAML."""

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> Fields:
        found = Fields(file, node.start_mark.line + 1)
        for key, value in node.value:
            name = str(loader.construct_object(key))
            found.put(name, loader.construct_object(value, deep=True), key.start_mark.line + 1)
        return found

    Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    try:
        return [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise ManifestRefused([f"{file}:{line}: {error.problem}"]) from None
