"""What a server says of tokens is counted where it is a count, and left out where it is none."""

from __future__ import annotations

from typing import Any

import pytest

from lmconf.transports.response_checks import drop_odd_counts


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"prompt_tokens": 3, "total_tokens": None}, {"prompt_tokens": 3, "total_tokens": None}),
        ({"prompt_tokens": -3}, {}),
        ({"prompt_tokens": True}, {}),
        ({"prompt_tokens": "3"}, {}),
        ({"prompt_tokens": {"all": 3}}, {}),
        ({"prompt_tokens": 10**30}, {}),
        ({"prompt_tokens_details": 0}, {}),
        ({"prompt_tokens_details": [1]}, {}),
        ({"prompt_tokens_details": None}, {"prompt_tokens_details": None}),
        (
            {"prompt_tokens_details": {"cached_tokens": -1, "audio_tokens": 2}},
            {"prompt_tokens_details": {"audio_tokens": 2}},
        ),
        ({"cost": 0.5, "service": "x"}, {"cost": 0.5, "service": "x"}),
    ],
)
def test_only_counts_are_kept(said: dict[str, Any], kept: dict[str, Any]) -> None:
    drop_odd_counts(said)
    assert said == kept
