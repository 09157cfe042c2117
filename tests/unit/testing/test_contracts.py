"""The contract of transports finds what is wrong with one."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any

import pytest

from lmconf.errors import RateLimited
from lmconf.testing import TransportContract
from lmconf.testing.contracts import KEY
from lmconf.transports import Json, Request, Transport


class Broken:
    """A transport with one thing wrong with it."""

    def __init__(self, wrong: str) -> None:
        self.wrong = wrong
        self.sent = 0
        self.calls = 0

    def complete(self, request: Request) -> object:
        self.calls += 1
        self.sent += 2 if self.wrong == "retries" else 1
        if self.wrong == "empty":
            return ""
        if self.wrong == "one thread" and self.calls > 1:
            raise RuntimeError("it is in use")
        if self.wrong in ("retries", "tells"):
            raise RateLimited(f"{KEY} may not" if self.wrong == "tells" else "slow down")
        if self.wrong == "own error":
            raise OSError("no route")
        return "Bye." if self.wrong == "another text" else "Hello."

    def stream(self, request: Request) -> Iterator[Json]:
        reason = {} if self.wrong == "no end" else {"finish_reason": "stop"}
        self.complete(request)
        yield {"choices": [{"delta": {"content": "Hello."}, **reason}]}
        if self.wrong == "not cut":
            return


class Contract(TransportContract):
    text = "Hello."

    def __init__(self, wrong: str) -> None:
        self.made = Broken(wrong)

    def make(self) -> Broken:
        return self.made

    make_refused = make_cut = make

    def request_count(self) -> int:
        return self.made.sent


@pytest.mark.parametrize(
    ("wrong", "test", "told"),
    [
        ("empty", "a_response_is_plain_json_with_a_choice", "it says nothing"),
        ("another text", "a_response_is_plain_json_with_a_choice", "'Bye.' is not 'Hello.'"),
        ("one thread", "it_is_used_from_many_threads_at_once", "RuntimeError"),
        ("retries", "a_refusal_is_one_attempt_and_a_call_error", "2 requests were sent for one"),
        ("tells", "a_refusal_is_one_attempt_and_a_call_error", "contains the credential"),
        ("own error", "a_refusal_is_one_attempt_and_a_call_error", "not a CallError: OSError"),
        ("nothing", "a_refusal_is_one_attempt_and_a_call_error", "nothing was raised"),
        ("not cut", "a_stream_that_is_cut_short_is_an_error", "nothing was raised"),
    ],
)
def test_what_is_wrong_is_told(wrong: str, test: str, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        getattr(Contract(wrong), f"test_{test}")()


def test_what_is_given_back_twice_is_found() -> None:
    class Sharing:
        def __init__(self) -> None:
            message = {"content": "Hello."}
            self.shared = {"choices": [{"message": message, "finish_reason": "stop"}]}

        def complete(self, request: Request) -> Json:
            return self.shared

        async def acomplete(self, request: Request) -> Json:
            return self.shared

    class Bare(TransportContract):
        def make(self) -> Any:
            return Sharing()

        def transport(self, own: Any) -> Transport:
            found: Transport = own
            return found

    with pytest.raises((AssertionError, KeyError)):
        Bare().test_a_response_belongs_to_its_caller()


def test_what_is_not_given_is_skipped_and_make_must_be() -> None:
    class Small(TransportContract):
        def make(self) -> Broken:
            return Broken("")

    for test in (
        Small().test_a_refusal_is_one_attempt_and_a_call_error,
        Small().test_a_stream_that_is_cut_short_is_an_error,
    ):
        with pytest.raises(unittest.SkipTest):
            test()
    with pytest.raises(NotImplementedError, match="give the contract `make`"):
        TransportContract().test_it_is_closed_more_than_once()
