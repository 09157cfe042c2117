"""`configure` holds for the process, `context` for a block of one thread or task."""

from __future__ import annotations

import asyncio
import threading

import pytest

from lmconf.errors import UsageError
from lmconf.runtime import LM
from lmconf.runtime.settings import Settings


def lm(name: str) -> LM:
    return LM(f"openai/{name}", api_key="")


def test_nothing_set_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="configure"):
        _ = Settings().lm


def test_every_thread_sees_the_process_wide_lm() -> None:
    settings, seen = Settings(), []
    settings.configure(lm=lm("a"))
    thread = threading.Thread(target=lambda: seen.append(settings.lm.model))
    thread.start()
    thread.join()
    assert seen == ["openai/a"]


def test_a_block_is_seen_inside_alone_and_ends_with_an_error_too() -> None:
    settings, other = Settings(), []
    settings.configure(lm=lm("a"))
    with settings.context(lm=lm("b")) as inner:
        assert settings.lm is inner
        with settings.context(lm=lm("c")):
            assert settings.lm.model == "openai/c"
        assert settings.lm is inner
        thread = threading.Thread(target=lambda: other.append(settings.lm.model))
        thread.start()
        thread.join()
    with pytest.raises(RuntimeError), settings.context(lm=lm("d")):
        raise RuntimeError
    assert settings.lm.model == "openai/a"
    assert other == ["openai/a"]


def test_tasks_see_their_own_block_and_pass_it_to_tasks_they_start() -> None:
    settings = Settings()
    settings.configure(lm=lm("a"))

    async def child() -> str:
        await asyncio.sleep(0)
        model: str = settings.lm.model
        return model

    async def task(name: str) -> tuple[str, str]:
        with settings.context(lm=lm(name)):
            await asyncio.sleep(0.01)
            return settings.lm.model, await asyncio.create_task(child())

    async def both() -> list[tuple[str, str]]:
        return list(await asyncio.gather(task("b"), task("c")))

    assert asyncio.run(both()) == [("openai/b", "openai/b"), ("openai/c", "openai/c")]
    assert settings.lm.model == "openai/a"


def test_only_what_can_be_called_is_an_lm() -> None:
    with pytest.raises(UsageError, match="str"):
        Settings().configure(lm="openai/a")  # type: ignore[arg-type]
