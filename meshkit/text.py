"""Text from people and other programs on its way to a terminal, a log or a page: it can be read, and it does nothing else.

A note must not move the cursor, begin a line of its own, turn the direction of what follows, or carry a password along.
"""

from __future__ import annotations

import re
from typing import Any

_USER_OF_URL = re.compile(r"(?<=://)[^/?#\s@]+(?=@)")
MASK = "********"


def printable(text: str, keep: str = "") -> str:
    """Every control, format, separator and surrogate character as its escape (such as \\x1b), but those of `keep`."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else _escaped(sign) for sign in text)


def without_passwords(text: str) -> str:
    """Users and passwords inside of URLs, masked."""
    return _USER_OF_URL.sub(MASK, text) if "://" in text and "@" in text else text


def harmless(value: Any, keep: str = "") -> Any:
    """All text in a value of JSON's types, keys too, printable and without passwords."""
    if isinstance(value, str):
        return without_passwords(printable(value, keep))
    if isinstance(value, dict):
        return {harmless(key): harmless(item, keep) for key, item in value.items()}
    return [harmless(item, keep) for item in value] if isinstance(value, list | tuple) else value


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
