"""A program that calls an LM again and again, each time with a signal somewhere in the middle.

    python -m tests.interrupted FORM KIND SEED COUNT BASE FOLDER [PACE ...]

prints what went wrong, as JSON. It is a program of its own because signals reach the main thread of
a process alone, and may fall anywhere in it. PACE is how the server answers: "fast", "slow", "silent"
or "stalled", which begins an answer and leaves it at that.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import selectors
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from types import FrameType
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


def called_async(lm: LM, prompt: str) -> str:
    async def ask() -> str:
        return str((await lm.acall(prompt))[0])

    return asyncio.run(ask())


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
    "acall": (called_async, {}),
    "aask": (awaited, {}),
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


ON_LOOPS = ("acall", "aask", "astream", "abatch")

PACES = {"fast": 1.0, "slow": 1.0, "silent": 0.15, "stalled": 0.15}
"""The seconds within which the signal comes; those of servers that answer, as a part of the call's."""


def passes_on(frame: FrameType | None) -> bool:
    """Say whether `asyncio` and `anyio` pass on an `Exception` that a signal raises in `frame`.

    `asyncio` does where a task's own code runs, and where a loop waits in `select`. What is raised in a
    callback, it logs; what is raised in its own code may cost a wake-up that nothing brings back, so
    that the task cannot even be cancelled. `anyio` keeps books of its own of tasks and their
    cancellation, and takes an `OSError` (a `TimeoutError` is one) for one of the socket's.
    """
    before: FrameType | None = None
    while frame is not None:
        code = frame.f_code
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "anyio":
            return False
        if code is asyncio.Handle._run.__code__:
            # The one that closes an asynchronous generator of a loop that ends is `asyncio`'s.
            if before is None or before.f_code.co_name == "_wrap_awaitable":
                return False
            return bool(before.f_code.co_flags & inspect.CO_COROUTINE)
        if code.co_name == "_run_once":  # an iteration of the loop
            return before is not None and before.f_code.co_filename == selectors.__file__
        if code.co_filename == asyncio.runners.__file__ or code in OF_LOOPS:
            return False
        before, frame = frame, frame.f_back
    return True


OF_LOOPS = {
    getattr(asyncio.BaseEventLoop, name).__code__
    for name in ("run_forever", "run_until_complete", "close")
}


def came_too_late(error: BaseException) -> bool:
    """Say whether Ctrl-C came when the task of `asyncio.run` had ended, and the loop had not.

    The loop is stopped twice then, and `asyncio` complains of the second time in place of the
    interrupt. It raises one by itself (`_on_sigint`) when there is no task to cancel any more.
    """
    cause = error.__context__
    if not isinstance(error, RuntimeError) or not isinstance(cause, KeyboardInterrupt):
        return False
    trace = cause.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "_on_sigint":
            return True
        trace = trace.tb_next
    return False


class Alarm:
    """Raises an exception of `kind` in the main thread, once, after some seconds.

    On event loops it waits until `passes` says that the exception is passed on.
    """

    def __init__(
        self, kind: str, passes: Callable[[FrameType | None], bool] = lambda frame: True
    ) -> None:
        self.kind = kind
        self.passes = passes
        self.made: BaseException | None = None
        self.at = 0.0
        self.where: list[str] = []
        self._sender: threading.Timer | None = None
        if kind == "interrupt":
            signal.signal(signal.SIGINT, signal.default_int_handler)
        else:
            signal.signal(signal.SIGALRM, self._ring)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if not self.passes(frame):
            signal.setitimer(signal.ITIMER_REAL, 2e-4)
            return
        self.at = time.monotonic()
        self.where = [f"{each.name}:{each.lineno}" for each in traceback.extract_stack(frame)[-9:]]
        self.made = KINDS[self.kind]("the time is over")
        raise self.made

    is_set = False

    def set(self, seconds: float) -> None:
        self.made, self.at = None, 0.0
        Alarm.is_set = True
        if self.kind != "interrupt":
            signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-5))
            return

        def send() -> None:
            self.at = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

        self._sender = threading.Timer(seconds, send)
        self._sender.start()

    def stop(self) -> None:
        Alarm.is_set = False
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


dropped: list[BaseException] = []
"""What fell into a finalizer: Python tells of it, and nobody can raise it."""


def troubles_of(  # noqa: PLR0917 - the arguments of the command line
    form: str, kind: str, seed: str, count: int, lm: LM, pace: str = "fast"
) -> list[str]:
    ask = FORMS[form][0]
    chance = random.Random(f"{form} {kind} {seed} {pace}")
    troubles: list[str] = []
    fell = 0
    with lm, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", lmconf.errors.Warning if hasattr(lmconf.errors, "Warning") else UserWarning
        )
        ask(lm, "warm")
        begun = time.monotonic()
        ask(lm, "slow warmer" if pace == "slow" else "warmer")
        takes = min(time.monotonic() - begun, PACES[pace])
        alarm = Alarm(kind, passes_on) if form in ON_LOOPS else Alarm(kind)
        for number in range(count):
            prompt = f"{pace} {form} {seed} {number}"
            delay = chance.choice([0.1, 1.0, 1.1]) * chance.random() * takes
            outcome: object = None
            raised_at, finalized = 0.0, len(dropped)
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
                if not alarm.rang or not (alarm.is_it(outcome) or came_too_late(outcome)):
                    troubles.append(
                        f"{number} after {delay:.4f}: {outcome!r} of {outcome.__context__!r}"
                        f" {alarm.where}"
                    )
                elif raised_at - alarm.at > PROMPT_WAIT:
                    troubles.append(
                        f"{number} after {delay:.4f}: late by {raised_at - alarm.at:.2f}"
                    )
                fell += 1
            elif alarm.rang and not any(map(alarm.is_it, dropped[finalized:])):
                troubles.append(
                    f"{number} after {delay:.4f}: the signal was swallowed: {outcome!r} {alarm.where}"
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
    form, kind, seed, count, base, folder, *paces = arguments
    lmconf.register_transport("slow", Slow)

    def drop(told: sys.UnraisableHookArgs) -> None:
        if told.exc_value is not None:
            dropped.append(told.exc_value)
        where.append(repr(told.object))
        if kind != "interrupt" and Alarm.is_set:
            signal.setitimer(signal.ITIMER_REAL, 1e-3)  # once more

    where: list[str] = []
    sys.unraisablehook = drop
    troubles: list[str] = []
    for pace in paces or ("fast",):
        lm = lm_of(form, base, folder)
        troubles += troubles_of(form, kind, seed, int(count), lm, pace)
    sys.stdout.write(json.dumps({"troubles": troubles, "dropped": where}))


if __name__ == "__main__":
    main(*sys.argv[1:])
