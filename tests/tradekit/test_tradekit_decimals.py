"""The grammar of exact numbers: what it takes comes back unchanged, what it refuses never gets inside."""

from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradekit.decimals import STORED_SCALE, divide, format_decimal, parse_decimal, plain, to_stored_scale

WHOLE = st.one_of(st.just("0"), st.from_regex(r"[1-9][0-9]{0,19}", fullmatch=True))
FRACTION = st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,18}", fullmatch=True))
TEXTS = st.builds(lambda whole, fraction: whole + fraction, WHOLE, FRACTION)
STORED = st.decimals(min_value=-(10**19), max_value=10**19, allow_nan=False, allow_infinity=False, places=18)


@given(TEXTS, st.booleans())
def test_text_of_the_grammar_comes_back_unchanged(text: str, negative: bool) -> None:
    signed = f"-{text}" if negative and Decimal(text) != 0 else text
    number = parse_decimal(signed)
    assert format_decimal(number) == signed
    assert Fraction(number) == Fraction(signed)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "1 ", " 1", "1\n", "+1", "01", "00", "-", ".5", "1.", "1..2", "1,5", "1_000", "1e3", "1E-3", "0x10",
        "NaN", "nan", "sNaN", "Infinity", "-inf", "-0", "-0.0", "１", "٣", "1" * 21, "0." + "1" * 19, "1" * 1000, "--1",
    ],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_decimal(text)


@given(st.text(max_size=45))
def test_any_text_is_either_refused_or_exact(text: str) -> None:
    try:
        number = parse_decimal(text)
    except ValueError:
        return
    assert number.is_finite()
    assert format_decimal(number) == text


@given(STORED)
def test_numbers_within_the_stored_range_have_a_text(number: Decimal) -> None:
    assert parse_decimal(format_decimal(number)) == number
    assert parse_decimal(plain(number)) == number
    assert not plain(number).endswith(".")
    assert "." not in plain(number) or not plain(number).endswith("0")


@pytest.mark.parametrize("number", [Decimal("NaN"), Decimal("Infinity"), Decimal(10) ** 20, Decimal("1e-19")])
def test_numbers_outside_of_it_have_none(number: Decimal) -> None:
    with pytest.raises(ValueError):
        format_decimal(number)


def test_zeros_behind_the_eighteenth_decimal_are_no_digits() -> None:
    assert format_decimal(Decimal("1.5").quantize(Decimal("1e-20"))) == "1.500000000000000000"
    assert format_decimal(Decimal("-0.00")) == "0.00"
    assert plain(Decimal("1E+3")) == "1000"


@given(STORED, STORED.filter(lambda number: abs(number) > Decimal("1e-6")))
def test_quotients_carry_far_more_digits_than_are_stored(numerator: Decimal, denominator: Decimal) -> None:
    exact = Fraction(numerator) / Fraction(denominator)
    assert abs(Fraction(divide(numerator, denominator)) - exact) <= abs(exact) / 10**59


@given(st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, allow_infinity=False, places=25))
def test_stored_scale_rounds_half_even_once(number: Decimal) -> None:
    stored = to_stored_scale(number)
    steps = Fraction(number) / Fraction(STORED_SCALE)
    assert Fraction(stored) / Fraction(STORED_SCALE) == round(steps)  # round() of a fraction is half-even
    assert to_stored_scale(stored) == stored


def test_a_tie_goes_to_the_even_digit() -> None:
    assert to_stored_scale(Decimal("0.0000000000000000005")) == 0
    assert to_stored_scale(Decimal("0.0000000000000000015")) == Decimal("2e-18")
    assert Decimal("2.5").quantize(Decimal(1), ROUND_HALF_EVEN) == 2
