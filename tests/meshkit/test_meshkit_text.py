"""Text from people reaches a terminal, a log or a page as text: nothing in it acts, forges a line or tells a password."""

from __future__ import annotations

import io
import json
import logging as std
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli.console import escape
from meshkit import logging
from meshkit.errors import InvalidRequest, NotFound, from_status, shown, to_status
from meshkit.fields import Fields
from meshkit.settings import effective
from meshkit.text import harmless, printable, without_passwords
from svc_monitor.page.encode import dumps
from tests.meshkit.toys import settings

FORGED = "lunch\x1b[2J\x9b31m\r\n2026-01-01 halted\u2028by nobody \u202egnp.exe\x07\ud800 [red]x[/]"
SECRET = "http://al:s3cret@proxy.example:3128/x"


def is_harmless(text: str) -> bool:
    return text.isprintable() and "s3cret" not in text


@given(st.text())
def test_what_is_printed_can_be_read_and_good_text_stays_as_it_is(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    assert printable(text, "\n").count("\n") == text.count("\n")
    if text.isprintable():
        assert printable(text) == text


@pytest.mark.parametrize(
    "sign", ["\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u200f", "\u2028", "\u202e"]
)
def test_a_note_with_a_sign_that_acts_is_refused_at_the_edge(sign: str) -> None:
    fields = Fields()
    assert fields.text("note", f"be{sign}fore", max_length=100) == ""
    (broken,) = fields.violations
    assert (broken.field, broken.rule, broken.description.isprintable()) == ("note", "CONTROL_CHARACTER", True)
    with pytest.raises(InvalidRequest):
        fields.done()
    assert Fields().text("note", "Grüße, 東京 – ok? 🙂", max_length=100) == "Grüße, 東京 – ok? 🙂"


@pytest.fixture
def restored() -> Any:
    before, root = structlog.get_config(), std.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_has_one_line_for_an_event_whatever_it_was_given(form: str, restored: Any) -> None:
    out = io.StringIO()
    logging.configure("info", form, out)
    log = logging.logger("toy")
    log.info("halted", note=FORGED, nested={"names": [FORGED]}, proxy=SECRET)
    std.getLogger("else").warning("odd %s %s", FORGED, SECRET)
    lines = out.getvalue().split("\n")
    assert len(lines) == 3 and lines[2] == ""
    assert all(is_harmless(line) for line in lines)
    if form == "json":
        assert json.loads(lines[0])["note"] == printable(FORGED)
    try:
        raise ValueError(FORGED.replace("\n", ""))
    except ValueError as error:
        log.error("failed", exc_info=error)
    assert all(is_harmless(line) for line in out.getvalue().split("\n"))


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_a_log_is_given_is_looked_at_once(form: str, restored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []

    def counting(value: object, kept: str = "") -> object:
        looked.append(value)
        return harmless(value, kept)

    monkeypatch.setattr(logging, "harmless", counting)
    logging.configure("info", form, io.StringIO())
    logging.logger("toy").info("halted", note="lunch")
    std.getLogger("else").warning("dinner")
    assert (looked.count("lunch"), looked.count("dinner")) == (1, 1)


def test_terminal_page_and_messages_of_errors() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, no_color=True, highlight=False, width=500).print(
        escape(f"{FORGED} {SECRET}")
    )
    assert is_harmless(out.getvalue().removesuffix("\n")) and "[red]x[/]" in out.getvalue()
    assert is_harmless(json.loads(dumps({"note": FORGED, "all": [{"url": SECRET}]}))["note"])
    assert "s3cret" not in dumps({"url": SECRET})
    assert shown(FORGED).isprintable() and len(shown(FORGED)) <= 64
    told = from_status(to_status(NotFound(FORGED, FORGED), "toy"))
    assert told.message.isprintable() and all(text.isprintable() for text in told.metadata.values())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (SECRET, "http://********@proxy.example:3128/x"),
        ("see https://u:p@h and socks5://t0ken@h.", "see https://********@h and socks5://********@h."),
        ("http://h/a@b", "http://h/a@b"),
        ("mail a@b", "mail a@b"),
    ],
)
def test_passwords_of_urls_are_masked(given: str, told: str) -> None:
    assert without_passwords(given) == told
    assert harmless({"a": (given,)}) == {"a": [told]}


def test_settings_print_no_password_of_a_url() -> None:
    assert effective(settings(otlp_endpoint=SECRET))["OTLP_ENDPOINT"] == "http://********@proxy.example:3128/x"
