"""`configure` holds for the process, `context` for a block of one thread or task."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import multiprocessing
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import lmconf
from lmconf.errors import UsageError
from lmconf.runtime import LM
from lmconf.runtime.settings import Settings
from tests.loopback import Loopback, serving

INHERITS = bool(getattr(sys.flags, "thread_inherit_context", 0))
"""Whether plain threads see the context of what starts them, a choice of Python's own."""


def lm(name: str, **settings: Any) -> LM:
    return LM(f"openai/{name}", api_key="", **settings)


def in_thread(work: Callable[[], object]) -> object:
    """Return what `work` returns in a plain thread."""
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


@pytest.fixture
def settings() -> Settings:
    """Settings in which the LM `a` is set for the process."""
    made = Settings()
    made.configure(lm=lm("a"))
    return made


# What may be set


def test_nothing_set_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="configure"):
        _ = Settings().lm
    assert Settings().disable_history is False


def test_configuring_one_setting_leaves_the_others(settings: Settings) -> None:
    settings.configure(disable_history=True)
    settings.configure(lm=lm("b"))
    assert (settings.lm.model, settings.disable_history) == ("openai/b", True)
    settings.configure()
    assert (settings.lm.model, settings.disable_history) == ("openai/b", True)


def test_none_takes_the_lm_away(settings: Settings) -> None:
    with settings.context(lm=None), pytest.raises(UsageError, match="no LM is set"):
        _ = settings.lm
    assert settings.lm.model == "openai/a"
    settings.configure(lm=None)
    with pytest.raises(UsageError, match="no LM is set"):
        _ = settings.lm


@pytest.mark.parametrize("how", ["configure", "context"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"disable_histroy": True}, "no setting `disable_histroy`: did you mean `disable_history`"),
        ({"colour": 1}, "no setting `colour`: there are: lm, disable_history"),
        ({"lm": "openai/a"}, "lm must be an LM, not str"),
        ({"lm": LM}, "lm must be an LM, not the class LM"),
        ({"disable_history": 1}, "disable_history must be true or false, not int"),
        ({"disable_history": None}, "not NoneType"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_set(
    settings: Settings, how: str, wrong: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        if how == "configure":
            settings.configure(**{"lm": lm("b"), **wrong})
        else:
            with settings.context(**{"lm": lm("b"), **wrong}):
                pass
    assert settings.lm.model == "openai/a"


def test_settings_are_not_assigned(settings: Settings) -> None:
    for name in ("lm", "disable_history", "colour"):
        with pytest.raises(AttributeError):
            setattr(settings, name, None)


def test_the_repr_shows_what_is_set_and_no_secret() -> None:
    settings = Settings()
    assert repr(settings) == "<lmconf.settings: lm=None, disable_history=False>"

    class Own:
        def __call__(self, prompt: str) -> list[str]:
            return [prompt]

        def __repr__(self) -> str:
            return "Own(key='opensesame')"

    settings.configure(lm=LM("openai/a", api_key="opensesame"))
    own: Any = Own()
    with settings.context(disable_history=True):
        assert repr(settings) == (
            "<lmconf.settings: lm=LM('openai/a'), disable_history=True (in this block)>"
        )
        with settings.context(lm=own):
            assert "lm=<Own> (in this block)" in repr(settings)
    assert "opensesame" not in repr(settings)


# Blocks


def test_a_block_is_seen_inside_alone_and_ends_with_an_error_too(settings: Settings) -> None:
    with settings.context(lm=lm("b")):
        with settings.context(disable_history=True):
            assert (settings.lm.model, settings.disable_history) == ("openai/b", True)
            with settings.context(lm=lm("c"), disable_history=False):
                assert (settings.lm.model, settings.disable_history) == ("openai/c", False)
            assert (settings.lm.model, settings.disable_history) == ("openai/b", True)
        assert (settings.lm.model, settings.disable_history) == ("openai/b", False)
    with pytest.raises(RuntimeError), settings.context(lm=lm("d"), disable_history=True):
        raise RuntimeError
    assert (settings.lm.model, settings.disable_history) == ("openai/a", False)


def test_what_a_block_states_holds_there_whatever_is_configured_meanwhile(
    settings: Settings,
) -> None:
    with settings.context(lm=lm("b")):
        settings.configure(lm=lm("c"), disable_history=True)
        assert (settings.lm.model, settings.disable_history) == ("openai/b", True)
    assert settings.lm.model == "openai/c"


def test_a_block_may_be_a_decorator(settings: Settings) -> None:
    @settings.context(lm=lm("b"))
    def inside() -> str:
        model: str = settings.lm.model
        return model

    assert [inside(), inside(), settings.lm.model] == ["openai/b", "openai/b", "openai/a"]


# Threads


def test_every_thread_sees_what_is_set_for_the_process(settings: Settings) -> None:
    assert in_thread(lambda: settings.lm.model) == "openai/a"
    in_thread(lambda: settings.configure(lm=lm("b")))
    assert settings.lm.model == "openai/b"


def test_a_plain_thread_does_not_see_the_block_and_a_copied_context_carries_it(
    settings: Settings,
) -> None:
    def seen() -> str:
        model: str = settings.lm.model
        return model

    with settings.context(lm=lm("b")), ThreadPoolExecutor(2) as pool:
        outside = "openai/b" if INHERITS else "openai/a"
        assert in_thread(seen) == outside
        assert pool.submit(seen).result() == outside
        carry = contextvars.copy_context().run
        assert in_thread(lambda: carry(seen)) == "openai/b"
        assert pool.submit(contextvars.copy_context().run, seen).result() == "openai/b"


def test_a_block_in_a_thread_is_not_seen_by_the_others(settings: Settings) -> None:
    inside, done = threading.Event(), threading.Event()

    def work() -> None:
        with settings.context(lm=lm("b")):
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(10)
    seen = settings.lm.model
    done.set()
    thread.join()
    assert seen == "openai/a"


def test_configuring_from_many_threads_at_once_loses_nothing_and_mixes_nothing() -> None:
    settings, begin = Settings(), threading.Barrier(9)
    mine = [lm(str(number)) for number in range(8)]

    def work(number: int) -> None:
        begin.wait(10)
        for _ in range(300):
            settings.configure(lm=mine[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    begin.wait(10)
    for switch in range(300):
        settings.configure(disable_history=bool(switch % 2))
        assert settings.disable_history == bool(switch % 2)
    for thread in threads:
        thread.join()
    assert any(settings.lm is one for one in mine)


# Tasks


async def test_tasks_see_their_own_block_and_pass_it_to_tasks_they_start(
    settings: Settings,
) -> None:
    async def child() -> str:
        await asyncio.sleep(0)
        model: str = settings.lm.model
        return model

    async def task(name: str) -> tuple[str, str, str]:
        with settings.context(lm=lm(name)):
            await asyncio.sleep(0.01)
            return (
                settings.lm.model,
                await asyncio.create_task(child()),
                await asyncio.to_thread(lambda: settings.lm.model),
            )

    both = list(await asyncio.gather(task("b"), task("c")))
    assert both == [("openai/b",) * 3, ("openai/c",) * 3]
    assert settings.lm.model == "openai/a"


async def test_a_task_keeps_the_block_it_was_started_in(settings: Settings) -> None:
    left = asyncio.Event()

    async def child() -> str:
        await left.wait()
        model: str = settings.lm.model
        return model

    with settings.context(lm=lm("b")):
        task = asyncio.create_task(child())
    left.set()
    assert await task == "openai/b"
    assert settings.lm.model == "openai/a"


async def test_a_task_that_is_cancelled_in_a_block_leaves_it(settings: Settings) -> None:
    seen = []

    async def work() -> None:
        try:
            with settings.context(lm=lm("b")):
                await asyncio.sleep(10)
        finally:
            seen.append(settings.lm.model)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["openai/a"]


# Generators


def test_generators_may_leave_their_blocks_in_any_order(settings: Settings) -> None:
    def inside(name: str) -> Iterator[str]:
        with settings.context(lm=lm(name)):
            yield settings.lm.model

    first, second = inside("b"), inside("c")
    assert [next(first), next(second)] == ["openai/b", "openai/c"]
    assert list(first) == []
    assert settings.lm.model == "openai/c"
    assert list(second) == []
    assert settings.lm.model == "openai/a"


async def test_an_async_generator_that_another_task_closes_leaves_its_block_without_error(
    settings: Settings,
) -> None:
    async def inside() -> AsyncIterator[str]:
        with settings.context(lm=lm("b")):
            yield settings.lm.model
            yield "never read"

    async def begin() -> AsyncIterator[str]:
        made = inside()
        assert await anext(made) == "openai/b"
        return made

    generator: Any = await asyncio.create_task(begin())
    assert settings.lm.model == "openai/a"
    await generator.aclose()
    assert settings.lm.model == "openai/a"


def test_an_abandoned_async_generator_is_closed_by_the_loop_without_error(
    settings: Settings,
) -> None:
    troubles: list[dict[str, Any]] = []

    async def inside() -> AsyncIterator[int]:
        with settings.context(lm=lm("b")):
            yield 1
            yield 2

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: troubles.append(told))
        async for _ in inside():
            break
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert troubles == []
    assert settings.lm.model == "openai/a"


# Processes


def _report(settings: Settings, pipe: Any) -> None:
    seen = (settings.lm.model, settings.disable_history)
    settings.configure(lm=lm("child"))
    pipe.send((*seen, settings.lm.model))
    pipe.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_sees_what_held_where_it_was_forked_and_keeps_its_changes_to_itself(
    settings: Settings,
) -> None:
    stop = threading.Event()

    def keep_setting() -> None:
        while not stop.is_set():
            settings.configure(lm=lm("a"))

    busy = threading.Thread(target=keep_setting)
    busy.start()
    try:
        with settings.context(disable_history=True):
            here, there = multiprocessing.Pipe()
            child = multiprocessing.get_context("fork").Process(
                target=_report, args=(settings, there)
            )
            child.start()
            assert here.poll(30)
            assert here.recv() == ("openai/a", True, "openai/child")
            child.join(30)
            assert child.exitcode == 0
    finally:
        stop.set()
        busy.join()
    assert settings.lm.model == "openai/a"


# The history


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving() as made:
        yield made


@pytest.fixture
def calling(server: Loopback) -> LM:
    return lm("tiny", api_base=server.v1, cache=False)


async def test_with_disable_history_calls_are_not_added_to_it(calling: LM) -> None:
    calling("first")
    with lmconf.context(disable_history=True):
        assert calling("second") == ["Hello."]
        assert (await calling.aask("third")).text == "Hello."
    calling("fourth")
    assert [entry["prompt"] for entry in calling.history] == ["first", "fourth"]


def test_disabled_for_the_process_no_thread_adds_to_the_history(calling: LM) -> None:
    lmconf.configure(disable_history=True)
    try:
        in_thread(lambda: calling("first"))
        with lmconf.context(disable_history=False):
            calling("second")
    finally:
        lmconf.configure(disable_history=False)
    assert [entry["prompt"] for entry in calling.history] == ["second"]
