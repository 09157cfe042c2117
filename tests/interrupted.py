"""A program that calls an LM again and again, each time with a signal somewhere in the middle.

    python -m tests.interrupted FORM KIND SEED COUNT BASE FOLDER

prints what went wrong, as JSON. It is a program of its own because signals reach the main thread of
a process alone, and may fall anywhere in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import lmconf
from lmconf.runtime import LM

PROMPT_WAIT = 2.0
"""Seconds after which an interrupt is no longer "at once", on the busiest of machines."""


class SoftTimeLimitExceeded(Exception):
    """What a worker's time limit raises."""


class LateError(TimeoutError):
    """A time limit of the same family as those of sockets."""


KINDS: dict[str, type[BaseException]] = {
    "exception": SoftTimeLimitExceeded,
    "timeout": LateError,
    "plain timeout": TimeoutError,
    "value": ValueError,
    "interrupt": KeyboardInterrupt,
}

Ask = Callable[[LM, str], str]


def called(lm: LM, prompt: str) -> str:
    return str(lm(prompt)[0])


def asked(lm: LM, prompt: str) -> str:
    return lm.ask(prompt).text


def streamed(lm: LM, prompt: str) -> str:
    with lm.stream(prompt) as stream:
        return "".join(stream)


def batched(lm: LM, prompt: str) -> str:
    prompts = [prompt, *(f"{prompt} {i}" for i in range(5))]
    said = [answer.text for answer in lm.batch(prompts, max_concurrency=3)]
    assert said == [f"<{each}>" for each in prompts], said
    return said[0]


def awaited(lm: LM, prompt: str) -> str:
    async def ask() -> str:
        return (await lm.aask(prompt)).text

    return asyncio.run(ask())


def streamed_async(lm: LM, prompt: str) -> str:
    async def ask() -> str:
        async with lm.astream(prompt) as stream:
            return "".join([piece async for piece in stream])

    return asyncio.run(ask())


def batched_async(lm: LM, prompt: str) -> str:
    async def ask() -> str:
        prompts = [prompt, *(f"{prompt} {i}" for i in range(5))]
        said = [answer.text for answer in await lm.abatch(prompts, max_concurrency=3)]
        assert said == [f"<{each}>" for each in prompts], said
        return said[0]

    return asyncio.run(ask())


def joined(lm: LM, prompt: str) -> str:
    """Wait for the same request of another thread, which is to have its answer in any case."""
    said: list[str] = []
    other = threading.Thread(target=lambda: said.append(lm.ask(prompt).text), daemon=True)
    other.start()
    try:
        found = lm.ask(prompt).text
    finally:
        # Not by `join`, which a second signal would not find here.
        until = time.monotonic() + 20
        while other.is_alive() and time.monotonic() < until:
            time.sleep(0.001)
    assert said == [f"<{prompt}>"], f"the other thread was left with {said}"
    return found


def adapted(lm: LM, prompt: str) -> str:
    return str(lm.as_dspy()(prompt)[0])


@lmconf.register_transport("slow")
class Slow:
    """A transport of one's own that takes its time."""

    def complete(self, request: Any) -> str:
        time.sleep(0.02)
        return f"<{request.messages[-1]['content']}>"


class Busy:
    """A callback that takes its time in the call's own thread."""

    inline = True

    def on_event(self, event: object) -> None:
        until = time.monotonic() + 0.004
        while time.monotonic() < until:
            pass


class Passive:
    """A store of one's own that takes its time, and has nothing."""

    def get(self, key: str) -> bytes | None:
        time.sleep(0.005)
        return None

    def put(self, key: str, value: bytes, *, ttl: float | None) -> None:
        time.sleep(0.005)


FORMS: dict[str, tuple[Ask, dict[str, Any]]] = {
    "call": (called, {}),
    "ask": (asked, {}),
    "stream": (streamed, {}),
    "batch": (batched, {}),
    "acall": (awaited, {}),
    "astream": (streamed_async, {}),
    "abatch": (batched_async, {}),
    "text": (called, {"model_type": "text"}),
    "responses": (asked, {"model_type": "responses"}),
    "litellm": (asked, {"model": "mistral/tiny"}),
    "litellm, stream": (streamed, {"model": "mistral/tiny"}),
    "litellm, async": (awaited, {"model": "mistral/tiny"}),
    "retries": (
        asked,
        {"num_retries": 5, "retry": {"initial": 0.01, "jitter": "none", "budget": False}},
    ),
    "limits": (asked, {"limits": {"max_concurrency": 1, "rpm": 60_000}}),
    "budget": (asked, {"budget": {"tokens": 10_000_000}}),
    "memory": (asked, {"cache": True}),
    "disk": (asked, {"cache": {"store": {"backend": "disk", "path": "FOLDER"}}}),
    "single-flight": (joined, {"cache": True}),
    "fallbacks": (asked, {"fallbacks": ["openai/other"]}),
    "pool": (asked, {"pool": ["openai/a", "openai/b"]}),
    "callback": (asked, {"callbacks": [Busy()]}),
    "own transport": (asked, {"transport": "slow"}),
    "dspy": (adapted, {}),
}


def lm_of(form: str, base: str, folder: str) -> LM:
    settings = dict(FORMS[form][1])
    if form == "disk":
        settings["cache"] = {"store": {"backend": "disk", "path": f"{folder}/cache"}}
    if form == "pool":
        common = {"api_base": base, "api_key": "", "cache": False}
        members = {name: {"model": f"openai/{name}", **common} for name in ("a", "b")}
        pool = {"pool": [*members], "cache": False, "num_retries": 0}
        return lmconf.load({"main": "pool", "lms": {**members, "pool": pool}})["pool"]
    if form == "fallbacks":
        settings["fallbacks"] = [{"model": "openai/other", "api_base": base, "api_key": ""}]
        settings["fallback_on"] = ["timeout", "connection", "server_error"]
    return LM(
        settings.pop("model", "openai/tiny"),
        **{"api_base": base, "api_key": "", "cache": False, "num_retries": 0, **settings},
    )


class Alarm:
    """Raises an exception of `kind` in the main thread, once, after some seconds."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.made: BaseException | None = None
        self.at = 0.0
        self._sender: threading.Timer | None = None
        if kind == "interrupt":
            signal.signal(signal.SIGINT, signal.default_int_handler)
        else:
            signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, number: int, frame: object) -> None:
        self.at = time.monotonic()
        self.made = KINDS[self.kind]("the time is over")
        raise self.made

    def set(self, seconds: float) -> None:
        self.made, self.at = None, 0.0
        if self.kind != "interrupt":
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-5))
            return

        def send() -> None:
            self.at = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

        self._sender = threading.Timer(seconds, send)
        self._sender.start()

    def stop(self) -> None:
        if self.kind != "interrupt":
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif self._sender is not None:
            self._sender.cancel()
            self._sender.join()

    @property
    def rang(self) -> bool:
        return self.at > 0.0

    def is_it(self, error: BaseException) -> bool:
        return error is self.made if self.made is not None else type(error) is KINDS[self.kind]


dropped: list[BaseException | None] = []
"""What fell into a finalizer: Python tells of it, and nobody can raise it."""


def troubles_of(form: str, kind: str, seed: str, count: int, lm: LM) -> list[str]:
    ask = FORMS[form][0]
    chance = random.Random(f"{form} {kind} {seed}")
    troubles: list[str] = []
    fell = 0
    with lm, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", lmconf.errors.Warning if hasattr(lmconf.errors, "Warning") else UserWarning
        )
        ask(lm, "warm")
        begun = time.monotonic()
        ask(lm, "warmer")
        takes = time.monotonic() - begun
        alarm = Alarm(kind)
        for number in range(count):
            prompt = f"{form} {seed} {number}"
            delay = chance.choice([0.1, 1.0, 1.1]) * chance.random() * takes
            outcome: object = None
            raised_at = 0.0
            try:
                try:
                    alarm.set(delay)
                    outcome = ask(lm, prompt)
                except BaseException as error:  # noqa: BLE001 - it is looked at below
                    raised_at = time.monotonic()
                    outcome = error
                alarm.stop()
            except BaseException as error:  # noqa: BLE001 - as above
                raised_at = raised_at or time.monotonic()
                outcome = error
                alarm.stop()
            if isinstance(outcome, BaseException):
                if not alarm.rang or not alarm.is_it(outcome):
                    troubles.append(
                        f"{number} after {delay:.4f}: {outcome!r} of {outcome.__context__!r}"
                    )
                elif raised_at - alarm.at > PROMPT_WAIT:
                    troubles.append(
                        f"{number} after {delay:.4f}: late by {raised_at - alarm.at:.2f}"
                    )
                fell += 1
            elif alarm.rang and not any(one is alarm.made for one in dropped):
                troubles.append(
                    f"{number} after {delay:.4f}: the signal was swallowed: {outcome!r}"
                )
            elif outcome != f"<{prompt}>":
                troubles.append(f"{number}: {outcome!r}")
            outcome = None
            try:
                said = ask(lm, f"next {prompt}")
            except Exception as error:  # noqa: BLE001 - it is told
                troubles.append(f"{number} after {delay:.4f}: then {error!r}")
            else:
                if said != f"<next {prompt}>":
                    troubles.append(f"{number} after {delay:.4f}: then {said!r}")
    if fell < count / 10:
        troubles.append(f"only {fell} of {count} signals fell into a call")
    return troubles


def main(*arguments: str) -> None:
    form, kind, seed, count, base, folder = arguments

    def drop(told: sys.UnraisableHookArgs) -> None:
        dropped.append(told.exc_value)
        where.append(repr(told.object))

    where: list[str] = []
    sys.unraisablehook = drop
    troubles = troubles_of(form, kind, seed, int(count), lm_of(form, base, folder))
    sys.stdout.write(json.dumps({"troubles": troubles, "dropped": where}))


if __name__ == "__main__":
    main(*sys.argv[1:])
