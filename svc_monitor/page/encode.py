"""Domain values as JSON: exact numbers stay text, times are UTC, enums are their words."""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from meshkit.text import harmless


def plain(value: Any) -> Any:
    """The value in the types of JSON."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def dumps(value: Any) -> str:
    """Compact JSON whose texts can only be read; NaN and infinity, which JSON does not know, are refused."""
    return json.dumps(harmless(plain(value)), separators=(",", ":"), allow_nan=False)
