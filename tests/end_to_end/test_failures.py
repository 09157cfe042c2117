"""Every failure that leaves an LM names the LM, the attempts, its place and a next step."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    Closed,
    ConnectionFailed,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.transports import Request
from tests.artefacts import MARK, WAYS, ask, held, of_error
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving

PROFILE = """\
lms:
  gpt:
    model: openai/tiny
    api_base: {base}
    api_key: {{$env: HOUSE_KEY}}
    temperature: 0.5
    max_tokens: 50
    timeout: {timeout}s
    num_retries: 1
    retry: {{initial: 1ms, jitter: none}}
    cache: false
"""
MODEL, BASE, KEY, TEMPERATURE, TOKENS, TIMEOUT = 3, 4, 5, 6, 7, 8
"""The lines of the fields."""


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", MARK)
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.chdir(tmp_path)
    live_store(MemoryStore()).clear()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


def profile(base: str, timeout: float = 30) -> lmconf.LM:
    Path("support.yaml").write_text(PROFILE.format(base=base, timeout=timeout))
    return lmconf.load("./support.yaml")["gpt"]


def refusal(status: int, message: str = "no", **error: Any) -> Reply:
    return Reply(
        status=status,
        json={"error": {"message": message, **error}},
        headers={"x-request-id": "req-7"},
    )


Case = tuple[Reply, type[CallError], int, int, str]

CASES: dict[str, Case] = {
    "key": (refusal(401), AuthenticationFailed, KEY, 1,
     "check the key that the variable HOUSE_KEY holds"),
    "permission": (refusal(403), PermissionDenied, KEY, 1,
     "check what the key's account, project or plan permits"),
    "model": (refusal(404), NotFound, MODEL, 1, "check `model` (openai/tiny) and `api_base`"),
    "rate": (refusal(429), RateLimited, MODEL, 2,
     "lower the rate of calls, or raise `num_retries` (now 1)"),
    "quota": (refusal(429, code="insufficient_quota"), RateLimited, MODEL, 1,
     "the account's quota is used up: a retry does not help"),
    "length": (refusal(400, code="context_length_exceeded"), ContextWindowExceeded, TOKENS, 1,
     "shorten the prompt or lower `max_tokens` (now 50)"),
    "setting": (refusal(400, param="temperature"), BadRequest, TEMPERATURE, 1,
     "change `temperature`: the same request would fail again"),
    "setting under its name on the wire": (refusal(400, param="max_completion_tokens"),
     BadRequest, TOKENS, 1, "change `max_tokens`: the same request would fail again"),
    "request": (refusal(400), BadRequest, MODEL, 1,
     "fix what the server reports: the same request would fail again"),
    "policy": (refusal(400, code="content_filter"), ContentPolicy, MODEL, 1,
     "change the prompt to comply with the provider's policy"),
    "server": (refusal(500), ServerError, MODEL, 2,
     "try again later, or see the provider's status page"),
    "nonsense": (Reply(json={"choices": []}, headers={"x-request-id": "req-7"}), BadResponse,
     MODEL, 2, "try again; if the error persists, check that `api_base` leads to this provider's API"),
    "an error in an answer": (Reply(json={"error": {"code": 429, "message": "no"}},
     headers={"x-request-id": "req-7"}), RateLimited, MODEL, 2,
     "lower the rate of calls, or raise `num_retries` (now 1)"),
    "slow": (Reply(json=chat(), pause=1.0), Timeout, TIMEOUT, 2,
     "raise `timeout` (now 0.4s), or ask for fewer tokens"),
    "drop": (Reply(drop=True), ConnectionFailed, BASE, 2,
     "check `api_base` and the network, and that the server is running"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("way", WAYS)
def test_a_failure_says_where_and_what_to_do(case: Case, way: str, server: Loopback) -> None:
    reply, kind, line, attempts, help = case
    lm = profile(server.v1, timeout=0.4 if kind is Timeout else 30)
    server.answers(reply)
    with pytest.raises(CallError) as raised:
        ask(lm, way)
    error = raised.value
    assert type(error) is kind
    assert (error.lm, error.attempts, error.help) == (lm.name, attempts, help)
    assert error.place is not None
    assert (error.place.source.name, error.place.line) == ("support.yaml", line)
    assert error.request_id == ("req-7" if reply.headers else None)
    assert (error.waited > 0) == (attempts > 1)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    artefacts = of_error(error)
    assert any(name.startswith("locals") for name in artefacts)
    assert held(artefacts) == []


def test_a_copy_keeps_the_places_of_what_it_did_not_change(server: Loopback) -> None:
    lm = profile(server.v1).copy(temperature=0.7)
    server.answers(refusal(400, param="max_tokens"))
    with pytest.raises(BadRequest) as raised:
        lm("hi")
    assert raised.value.place is not None
    assert raised.value.place.line == TOKENS
    server.answers(refusal(400, param="temperature"))
    with pytest.raises(BadRequest) as raised:
        lm("hi")
    assert raised.value.place is not None
    assert raised.value.place.line == MODEL


def test_a_setting_of_the_call_alone_has_no_place_in_the_profile(server: Loopback) -> None:
    lm = profile(server.v1)
    server.answers(refusal(400, param="temperature"))
    with pytest.raises(BadRequest, match="change `temperature`") as raised:
        lm("hi", temperature=0.9)
    assert raised.value.place is not None
    assert raised.value.place.line == MODEL


def test_an_lm_made_in_code_has_no_place(server: Loopback) -> None:
    lm = lmconf.LM("openai/tiny", api_base=server.v1, api_key="sk-given-0123456789")
    server.answers(refusal(401))
    with pytest.raises(AuthenticationFailed) as raised:
        lm("hi")
    assert raised.value.place is None
    assert raised.value.help == "pass another key: lm.copy(api_key=…)"
    assert raised.value.lm == "openai/tiny"


def test_the_deadline_is_told_apart_from_the_timeout(server: Loopback) -> None:
    lm = profile(server.v1)
    server.answers(Reply(json=chat(), pause=1.0))
    with pytest.raises(Timeout, match=r"`deadline` \(now 0\.2s\)") as raised:
        lm("hi", deadline=0.2)
    assert raised.value.setting == "deadline"


def test_what_fails_before_anything_is_sent_is_told_as_well(
    server: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = profile(server.v1)
    monkeypatch.delenv("HOUSE_KEY")
    for way in WAYS:
        with pytest.raises(AuthenticationFailed, match="set HOUSE_KEY") as raised:
            ask(lm, way)
        assert raised.value.place is not None
        assert (raised.value.place.line, raised.value.attempts) == (KEY, 0)
    lm.close()
    for way in WAYS:
        with pytest.raises(Closed, match=r"gpt: the LM was closed\n.*\n  help: create") as closed:
            ask(lm, way)
        assert closed.value.lm == lm.name
    assert server.received == []


def test_a_failure_crosses_from_another_process(server: Loopback) -> None:
    lm = profile(server.v1)
    server.answers(refusal(404))
    import multiprocessing

    spawn = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool,
        pytest.raises(NotFound) as raised,
    ):
        pool.submit(lm, "hi").result()
    assert raised.value.lm == lm.name
    assert raised.value.request_id == "req-7"
    assert raised.value.attempts == 1


def callers(lm: lmconf.LM) -> dict[str, Callable[[], object]]:
    async def gathered() -> object:
        return await asyncio.gather(lm.acall("hi"), lm.acall("ho"))

    def in_threads() -> object:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            return list(pool.map(lm, ["hi", "ho"]))

    return {
        "call": lambda: lm("hi"),
        "acall": lambda: asyncio.run(lm.acall("hi")),
        "gather": lambda: asyncio.run(gathered()),
        "threads": in_threads,
        "batch": lambda: raised_in(lm.batch(["hi", "ho"], errors="return")),
        "abatch": lambda: raised_in(asyncio.run(lm.abatch(["hi", "ho"], errors="return"))),
    }


def raised_in(outcomes: list[lmconf.Answer | Exception]) -> None:
    for outcome in outcomes:
        assert isinstance(outcome, Exception)
        raise outcome


@pytest.mark.parametrize("way", ["call", "acall", "gather", "threads", "batch", "abatch"])
def test_calls_at_once_fail_each_with_facts_of_its_own(way: str, server: Loopback) -> None:
    lm = profile(server.v1)
    server.answers(refusal(404))
    with pytest.raises(NotFound) as raised:
        callers(lm)[way]()
    assert (raised.value.lm, raised.value.attempts) == (lm.name, 1)
    assert raised.value.place is not None
    assert raised.value.place.line == MODEL
    assert held(of_error(raised.value)) == []


class Interrupted:
    """A transport that is interrupted while a credential stands in its frame."""

    def complete(self, request: Request) -> Any:
        held_here = request.connection.key
        raise KeyboardInterrupt(len(held_here or ""))

    async def acomplete(self, request: Request) -> Any:
        return self.complete(request)

    def stream(self, request: Request) -> Iterator[Any]:
        yield from chat_chunks("Hel", finish=None, usage=False)
        yield self.complete(request)

    async def astream(self, request: Request) -> AsyncIterator[Any]:
        for chunk in self.stream(request):
            yield chunk

    def close(self) -> None: ...


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_leaves_without_the_frames_that_it_fell_into(
    way: str, server: Loopback
) -> None:
    lmconf.register_transport("interrupted", Interrupted)
    lm = profile(server.v1).copy(transport="interrupted")
    with pytest.raises(KeyboardInterrupt) as raised:
        ask(lm, way)
    assert raised.value.args == (len(MARK),)
    told = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    assert [frame.name for frame in told.stack if MARK in repr(frame.locals)] == []
