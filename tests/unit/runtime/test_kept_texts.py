"""Every response that an LM can give is kept and comes back equal."""

from __future__ import annotations

import pytest

from lmconf.caches.memory import MemoryCache
from lmconf.caches.store import StoredHit
from lmconf.runtime.answer import outputs_of
from lmconf.runtime.stored import open_stored, read_stored, write
from lmconf.testing import fake


@pytest.mark.parametrize("text", ["half a pair \ud83d", "\udc00", "whole \U0001f600", "\x00"])
def test_any_text_is_kept(text: str) -> None:
    response = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}
    assert read_stored(write(response)) == response


def test_a_number_of_any_size_is_kept() -> None:
    response = {"choices": [{"index": 0, "message": {"content": "x"}}], "created": 10**30}
    assert read_stored(write(response)) == response


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"\xff",
        b'{"choices": NaN}',
        b'{"choices": [1]}',
        b'{"choices": [{"message": 1}]}',
        b'{"choices": []}',
        b"[1]",
    ],
)
def test_what_is_no_response_is_none(value: bytes) -> None:
    assert read_stored(value) is None
    assert open_stored(value, ()) is None


@pytest.mark.parametrize("beside", [b'"model": "\xff"', b'"created": 1' + b"0" * 5000])
def test_what_stands_beside_the_texts_and_cannot_be_read_is_left_out(beside: bytes) -> None:
    found = open_stored(b'{"choices": [{"message": {"content": "x"}}], %b}' % beside, ())
    assert found is not None
    assert outputs_of(found.response) == found.outputs == ["x"]


def test_half_a_character_at_the_end_of_an_answer_fails_no_call() -> None:
    with fake("half a pair \ud83d") as server:
        lm = server.lm(cache={"store": {"backend": "memory"}})
        assert lm("Hi") == lm("Hi") == ["half a pair \ud83d"]
        assert lm.usage.cache_hits == 1


@pytest.mark.parametrize(
    "value",
    [
        b'{"choices": [1]}',
        b'{"choices": [{"message": "x"}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b"no",
    ],
)
def test_what_a_store_holds_that_is_no_response_is_asked_for_anew(
    value: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryCache, "find", lambda *_: StoredHit(value, None))
    with fake("Hello.") as server:
        lm = server.lm(cache={"store": {"backend": "memory"}})
        assert lm("Hi") == ["Hello."]
        assert lm.usage.cache_hits == 0
