"""How people are told of durations, everywhere in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.system.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.0123456, "0.0123s"),
        (0.25, "0.25s"),
        (12, "12s"),
        (12.3456, "12.3s"),
        (600, "600s"),
        (999, "999s"),
        (999.9, "16.7min"),
        (1000, "16.7min"),
        (3600, "60min"),
        (7200, "2h"),
        (86400, "24h"),
        (864_000, "10d"),
        (10**9, "11574d"),
    ],
)
def test_a_duration_has_three_digits_and_a_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(0.001, 10**7))
def test_what_is_told_reads_back_to_within_its_digits(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, rel=0.006)


def test_values_of_a_document_are_told_whole() -> None:
    assert format_duration(10.0125, 6) == "10.0125s"
