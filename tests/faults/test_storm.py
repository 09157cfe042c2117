"""A thousand calls at once to a server that fails three requests of ten.

Nothing is wrong: every answer belongs to its prompt. Nothing is doubled: no prompt is answered
twice. Nothing is unaccounted: what the server was asked is what calls and errors say of attempts,
and history and usage agree with it.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import CallError
from lmconf.runtime import LM, Answer
from tests.faults.storming import SHARE, Storm, said_to, storming

resource = pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it reads /proc")

CALLS = 1000
THREADS = 64
Outcome = Answer | CallError


def lm_at(storm: Storm, **settings: Any) -> LM:
    given: dict[str, Any] = {
        "api_key": "sk-storm-0123456789",
        "cache": False,
        "num_retries": 12,
        "retry": {"initial": 0.002, "max": 0.02, "budget": False},
        "timeout": 30,
        "deadline": 60,
        "history": {"max": 2 * CALLS},
        **settings,
    }
    return LM("openai/tiny", api_base=storm.base, **given)


async def in_tasks(lm: LM, prompts: list[str]) -> list[Outcome | BaseException]:
    return await asyncio.gather(*map(lm.aask, prompts), return_exceptions=True)


async def in_streams(lm: LM, prompts: list[str]) -> list[Outcome | BaseException]:
    async def one(prompt: str) -> Answer:
        async with lm.astream(prompt) as stream:
            async for _ in stream:
                pass
        return stream.answer

    return await asyncio.gather(*map(one, prompts), return_exceptions=True)


def in_threads(lm: LM, prompts: list[str]) -> list[Outcome | BaseException]:
    def one(prompt: str) -> Outcome | BaseException:
        try:
            return lm.ask(prompt)
        except BaseException as error:  # noqa: BLE001 - which it is, is looked at
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(one, prompts))


def on_a_loop(way: Any, lm: LM, prompts: list[str]) -> list[Outcome | BaseException]:
    async def run() -> list[Outcome | BaseException]:
        found: list[Outcome | BaseException] = await way(lm, prompts)
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    return asyncio.run(run())


WAYS: dict[str, Callable[[LM, list[str]], list[Any]]] = {
    "tasks": lambda lm, prompts: on_a_loop(in_tasks, lm, prompts),
    "streams in tasks": lambda lm, prompts: on_a_loop(in_streams, lm, prompts),
    "threads": in_threads,
}
MISFORTUNES: dict[str, dict[str, Any]] = {
    "with attempts enough": {},
    "with too few attempts": {"num_retries": 1},
    "with a retry budget": {"retry": {"initial": 0.002, "max": 0.02, "budget": 50}},
    "with limits": {"limits": {"max_concurrency": 50}},
}


STORMS = [
    *itertools.product(["tasks"], MISFORTUNES),
    ("streams in tasks", "with attempts enough"),
    ("threads", "with attempts enough"),
    ("threads", "with a retry budget"),
]


@pytest.fixture
def many_files() -> Iterator[None]:
    """Both ends of a connection for each of the calls may be open in this process."""
    least, (soft, hard) = 2 * CALLS + 200, resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < least:
        pytest.skip(f"it wants {least} files open at once, and {hard} are allowed")
    if soft != resource.RLIM_INFINITY and soft < least:
        resource.setrlimit(resource.RLIMIT_NOFILE, (least, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize(("way_name", "misfortune"), STORMS)
def test_nothing_is_wrong_doubled_or_unaccounted(
    way_name: str, misfortune: str, many_files: None
) -> None:
    way, settings = WAYS[way_name], MISFORTUNES[misfortune]
    prompts = [f"prompt number {number} of the storm" for number in range(CALLS)]
    with storming() as storm:
        files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        with lm_at(storm, **settings) as lm:
            outcomes = way(lm, prompts)
            check_outcomes(prompts, outcomes, storm)
            check_books(lm, outcomes, storm)
            if not settings:
                assert not any(isinstance(outcome, CallError) for outcome in outcomes)
        assert settled(storm, files, threads)
        assert storm.faults.total() - storm.faults[""] >= SHARE * storm.faults.total() * 0.8


def check_outcomes(prompts: list[str], outcomes: list[Any], storm: Storm) -> None:
    assert len(outcomes) == len(prompts)
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        assert isinstance(outcome, Answer | CallError), repr(outcome)
        if isinstance(outcome, Answer):
            assert outcome.text == said_to(prompt)
            assert storm.answered[prompt] == 1
        else:
            assert storm.answered[prompt] == 0
            assert outcome.request_id in (prompt, None)
            assert len(outcome.causes) == outcome.attempts
        assert outcome.attempts == storm.asked[prompt] >= 1


def check_books(lm: LM, outcomes: list[Any], storm: Storm) -> None:
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert sum(outcome.attempts for outcome in outcomes) == storm.asked.total()
    assert len(answers) == storm.answered.total()
    assert lm.usage.calls == len(answers) == len(lm.history)
    assert lm.usage.attempts == sum(answer.attempts for answer in answers)
    assert lm.usage.total_tokens == 7 * len(answers)
    assert Counter(entry["outputs"][0] for entry in lm.history) == Counter(
        answer.text for answer in answers
    )


def settled(storm: Storm, files: int, threads: int) -> bool:
    """Say whether no connection, file or thread is left within five seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        now = len(list(Path("/proc/self/fd").iterdir()))
        if not storm.open and now <= files and threading.active_count() <= threads:
            return True
        time.sleep(0.02)
    return False


def test_equal_requests_at_once_are_sent_once_and_answered_to_all(many_files: None) -> None:
    """Single-flight holds while the server fails: each prompt is answered once, for five calls."""
    prompts = [f"prompt number {number % 200} of the storm" for number in range(CALLS)]
    with storming() as storm:
        store = {"store": {"backend": "memory"}}
        with lm_at(storm, cache=store) as lm:
            outcomes = on_a_loop(in_tasks, lm, prompts)
            for prompt, outcome in zip(prompts, outcomes, strict=True):
                assert isinstance(outcome, Answer), repr(outcome)
                assert outcome.text == said_to(prompt)
                assert storm.answered[prompt] == 1
            sent = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
            assert sum(answer.attempts for answer in sent) == storm.asked.total()
            assert sum(not answer.cache_hit for answer in sent) == 200
            assert lm.usage.calls == CALLS == len(lm.history)
            assert lm.usage.cache_hits == CALLS - 200
            assert lm.usage.total_tokens == 7 * 200
