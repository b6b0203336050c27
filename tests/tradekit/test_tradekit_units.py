"""mypy refuses programs that confuse units, in the functions that really size, sell and book; run time knows nothing of it."""

import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from tradekit.sizes import base_size, exceeds, order_size, quote_size
from tradekit.states import Side
from tradekit.units import BaseSize, Price, ProductId, QuoteSize

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("units_refused.py")
_MARK = re.compile(r"# no: (.+)$")
_ERROR = re.compile(r"units_refused\.py:([0-9]+): error: (.*)")
# As `make lint` runs it, and in its cache; without one mypy reads everything anew, which takes half a minute.
_MYPY = (sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context")


def test_mypy_refuses_every_confusion_of_units_and_nothing_else() -> None:
    lines = enumerate(PROGRAM.read_text().splitlines(), start=1)
    wanted = {number: mark[1] for number, line in lines if (mark := _MARK.search(line))}
    ran = subprocess.run([*_MYPY, str(PROGRAM)], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    found = [(int(number), text) for number, text in _ERROR.findall(ran.stdout)]
    assert [number for number, _ in found] == sorted(wanted), ran.stdout + ran.stderr
    unlike = [(number, wanted[number], text) for number, text in found if not _says(text, wanted[number])]
    assert unlike == []


def _says(text: str, mark: str) -> bool:
    """Whether mypy's words are that one type stands where another is wanted, or that an operator does not take two units."""
    given, _, needed = mark.partition(" for ")
    if not needed:
        return f"Unsupported operand types for {mark} " in text
    return re.search(rf'(type|got) "{re.escape(given)}"[;,] expected "{needed}\b', text) is not None


def test_a_unit_is_the_number_itself_at_run_time() -> None:
    number = Decimal("1.50")
    assert all(unit(number) is number for unit in (BaseSize, QuoteSize, Price))
    assert ProductId("BTC-USD") == "BTC-USD"


def test_a_size_is_given_out_as_what_its_side_is_sized_in() -> None:
    ten = Decimal(10)
    assert quote_size(Side.BUY, order_size(Side.BUY, ten)) == ten
    assert base_size(Side.SELL, order_size(Side.SELL, ten)) == ten
    with pytest.raises(ValueError, match="base units"):
        quote_size(Side.SELL, order_size(Side.SELL, ten))
    with pytest.raises(ValueError, match="quote currency"):
        base_size(Side.BUY, order_size(Side.BUY, ten))


@pytest.mark.parametrize("side", list(Side))
def test_a_size_exceeds_only_what_is_less(side: Side) -> None:
    sizes = [order_size(side, Decimal(number)) for number in (1, 2)]
    assert [exceeds(side, size, sizes[0]) for size in sizes] == [False, True]
    assert not exceeds(side, sizes[0], sizes[1])
