"""What a server does to its connections never reaches another call, and no one else is told."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lmconf.errors import CallError, ConnectionFailed
from lmconf.runtime import LM
from tests.artefacts import WAYS, ask
from tests.faults.dialects import DIALECTS, KEY, Dialect, body_of
from tests.faults.server import Act, Asked, answer, faulty, good, head
from tests.faults.test_faults import failure
from tests.sockets import Peer, raw

WHOLE = ("sync", "async")


@pytest.fixture(params=list(DIALECTS))
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return DIALECTS[request.param]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 401, 429])
def test_no_other_server_is_told_anything(status: int, way: str, dialect: Dialect) -> None:
    told: list[bytes] = []

    def listen(peer: Peer) -> None:
        told.append(peer.request())

    with raw(listen) as elsewhere:
        away = answer(status, b"{}", f"location: {elsewhere}/chat/completions")
        with faulty(dialect, away) as server, dialect.lm(server.base, num_retries=1) as lm:
            error = failure(lm, way)
            assert len(server.asked) == error.attempts == (2 if status == 429 else 1)
            assert all(KEY.encode() in request.raw for request in server.asked)
    assert told == []
    assert error.status == status
    if status < 400:
        assert type(error) is ConnectionFailed
        assert "api_base" in error.help
    assert elsewhere not in str(error)


@pytest.mark.parametrize("way", WAYS)
def test_a_redirect_on_the_same_server_is_not_followed_either(way: str, dialect: Dialect) -> None:
    with (
        faulty(dialect, answer(307, b"", "location: /v2/chat/completions"), good()) as server,
        dialect.lm(server.base) as lm,
    ):
        assert type(failure(lm, way)) is ConnectionFailed
        assert len(server.asked) == 1


def twice(lm: LM, way: str) -> list[str]:
    """What two calls in turn say, which may use the same connection."""

    async def on_a_loop() -> list[str]:
        return [(await lm.aask("hi")).text for _ in range(2)]

    return asyncio.run(on_a_loop()) if way == "async" else [ask(lm, way), ask(lm, way)]


def with_more(after: bytes) -> Act:
    """Answer rightly, and go on talking on the connection that is kept."""

    def act(asked: Asked) -> bool:
        body = body_of(asked.dialect)
        asked.peer.say(head(200, len(body)) + body + after)
        asked.peer.ending.wait(0.02)
        return True

    return act


@pytest.mark.parametrize("way", WHOLE)
@pytest.mark.parametrize(
    "after",
    [b"x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b"an answer to nobody"],
    ids=["a letter", "lines", "nothing asked for", "words"],
)
def test_what_is_said_after_an_answer_is_no_answer_to_the_next_call(
    after: bytes, way: str, dialect: Dialect
) -> None:
    with (
        faulty(dialect, with_more(after), good("Second.")) as server,
        dialect.lm(server.base) as lm,
    ):
        assert twice(lm, way) == ["Hello.", "Second."]


@pytest.mark.parametrize("way", WHOLE)
def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one(
    way: str, dialect: Dialect
) -> None:
    wrong = body_of(dialect, "Wrong.")
    with (
        faulty(dialect, with_more(head(200, len(wrong)) + wrong), good("Second.")) as server,
        dialect.lm(server.base) as lm,
    ):
        assert twice(lm, way) == ["Hello.", "Second."]


def then_closes(asked: Asked) -> bool:
    """Answer rightly as if to keep the connection, and close it."""
    good()(asked)
    return False


@pytest.mark.parametrize("way", WAYS)
def test_a_kept_connection_that_was_closed_costs_no_attempt(way: str, dialect: Dialect) -> None:
    with faulty(dialect, then_closes) as server, dialect.lm(server.base) as lm:
        assert [ask(lm, way) for _ in range(10)] == ["Hello."] * 10
        assert 10 <= len(server.asked) <= 20
        assert lm.usage.attempts == 10


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_call_leaves_nothing_to_the_next_one(way: str, dialect: Dialect) -> None:
    """The rest of a body that was given up does not come with the answer to another call."""

    def slow(asked: Asked) -> bool:
        wrong = body_of(asked.dialect, "Wrong.")
        asked.peer.say(head(200, len(wrong)) + wrong[:20])
        asked.peer.ending.wait(0.3)
        asked.peer.say(wrong[20:])
        return True

    with (
        faulty(dialect, good("First."), slow, good("Second.")) as server,
        dialect.lm(server.base, num_retries=0) as lm,
    ):
        # What is imported for a client's first call may take longer than the timeout.
        assert ask(lm, way) == "First."
        assert isinstance(failure(lm.copy(timeout=0.15), way), CallError)
        assert ask(lm, way) == "Second."


def _resets(asked: Asked) -> None:
    asked.peer.reset()


def closing(count: Iterator[int]) -> Act:
    """Do everything wrong in turn, by the number of the request."""

    def act(asked: Asked) -> object:
        turns = (_resets, answer(503, "{}"), then_closes, good())
        return turns[next(count) % 4](asked)

    return act


def test_faults_of_one_call_are_not_those_of_another(dialect: Dialect) -> None:
    """Threads share connections, and each has its own answer."""
    said: list[Any] = []
    settings = {"num_retries": 20, "retry": {"initial": 0.001, "budget": False}}
    with (
        faulty(dialect, closing(itertools.count())) as server,
        dialect.lm(server.base, **settings) as lm,
    ):
        threads = [
            threading.Thread(target=lambda: said.extend(ask(lm, "sync") for _ in range(5)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # One that met a reset on a kept connection is sent once more, as part of its attempt.
        assert 40 < lm.usage.attempts <= len(server.asked) <= 2 * lm.usage.attempts
    assert said == ["Hello."] * 40
