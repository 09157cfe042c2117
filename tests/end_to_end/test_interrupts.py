"""What a signal handler raises in the middle of a call leaves it, at once, and as it is.

Signals fall anywhere, so these tests find what is wrong now and then. The default is two forms of
call; with `LMCONF_NIGHTLY` set it is every form, also on event loops, where `asyncio` loses some of
what a handler raises by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import ConnectionFailed
from lmconf.runtime import LM
from tests.interrupted import FORMS, KINDS, ON_LOOPS, SoftTimeLimitExceeded
from tests.loopback import (
    Loopback,
    Received,
    Reply,
    chat,
    chat_chunks,
    completion,
    named_sse,
    output_text,
    response_events,
    responses,
    serving,
    sse,
)
from tests.programs import run as program

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="there is no timer that signals"
)

ROOT = Path(__file__).parents[2]
COUNT = 25
NIGHTLY = bool(os.environ.get("LMCONF_NIGHTLY"))
ENVIRONMENT = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}


PAUSES = {"slow": 0.15, "silent": 30.0}


def stalling(pieces: list[bytes]) -> Iterator[bytes]:
    yield pieces[0]
    time.sleep(30.0)


def answering(failing: bool = False) -> Any:
    """Answer with the prompt in brackets, in any of the APIs, in a while, or as it says itself."""
    seen: dict[str, int] = {}

    def script(received: Received) -> Reply:
        asked = received.json
        messages = asked.get("messages") or asked.get("input")
        if isinstance(messages, list):
            content = messages[-1]["content"]
            prompt = content if isinstance(content, str) else content[0]["text"]
        else:
            prompt = asked.get("prompt") or messages
        seen[prompt] = seen.get(prompt, 0) + 1
        if failing and seen[prompt] <= 2:
            return Reply(503, json={"error": {"message": "busy"}})
        text = f"<{prompt}>"
        streams = asked.get("stream")
        pace = prompt.partition(" ")[0]
        pause = PAUSES.get(pace, 0.02)
        if received.path.endswith("/responses"):
            whole = responses(output_text(text))
            return (
                Reply(pieces=named_sse(response_events(whole)), gap=0.001)
                if streams
                else Reply(json=whole, pause=0.02)
            )
        if received.path.endswith("/completions") and "prompt" in asked:
            return Reply(json=completion(text), pause=0.02)
        if streams:
            pieces = sse(*chat_chunks(*text))
            if pace == "stalled":
                return Reply(pieces=stalling(pieces))
            slowness = PAUSES.get(pace, 0.0)
            return Reply(pieces=pieces, pause=slowness, gap=0.001)
        return Reply(json=chat(text), pause=pause)

    return script


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as running:
        running.script = answering()
        yield running


@pytest.fixture(scope="module")
def busy() -> Iterator[Loopback]:
    with serving() as running:
        running.script = answering(failing=True)
        yield running


def run(*arguments: object, seconds: float = 240) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.interrupted", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "never retrieved" not in done.stderr, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


THREADED = tuple(form for form in FORMS if form not in (*ON_LOOPS, "litellm, async"))
USUAL = ("ask", "batch")


@pytest.mark.slow
@pytest.mark.parametrize("form", THREADED if NIGHTLY else USUAL)
def test_what_a_handler_raises_leaves_every_form_of_call(
    form: str, server: Loopback, busy: Loopback, tmp_path: Path
) -> None:
    base = (busy if form == "retries" else server).v1
    assert run(form, "exception", 1, COUNT, base, tmp_path)["troubles"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    (*USUAL, "stream", "litellm", "single-flight", "litellm, async") if NIGHTLY else USUAL,
)
def test_ctrl_c_leaves_every_form_of_call(form: str, server: Loopback, tmp_path: Path) -> None:
    assert run(form, "interrupt", 1, COUNT, server.v1, tmp_path)["troubles"] == []


@pytest.mark.slow
@pytest.mark.skipif(not NIGHTLY, reason="LMCONF_NIGHTLY is not set")
@pytest.mark.parametrize("kind", ["interrupt", "exception", "timeout"])
@pytest.mark.parametrize("form", ON_LOOPS)
def test_an_interrupt_leaves_every_form_of_call_on_an_event_loop(
    form: str, kind: str, server: Loopback, tmp_path: Path
) -> None:
    """Wherever it falls, except where `asyncio` itself would lose it: see `passes_on`."""
    paces = ["slow", "silent", *(["stalled"] if form == "astream" else [])]
    found = run(form, kind, 1, 12, server.v1, tmp_path, "fast")["troubles"]
    found += run(form, kind, 1, 4, server.v1, tmp_path, *paces)["troubles"]
    assert found == []


@pytest.mark.slow
@pytest.mark.skipif(not NIGHTLY, reason="LMCONF_NIGHTLY is not set")
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"exception", "interrupt"}))
@pytest.mark.parametrize("form", ["ask", "stream", "disk"])
def test_an_interrupt_passes_through_whatever_its_type(
    form: str, kind: str, server: Loopback, tmp_path: Path
) -> None:
    assert run(form, kind, 2, COUNT, server.v1, tmp_path)["troubles"] == []


FIRST = """
import signal, sys
from lmconf.runtime import LM

class Late(Exception):
    pass

def ring(number, frame):
    raise Late

model, base, delay = sys.argv[1:]
lm = LM(model, api_base=base, api_key="", cache=False, num_retries=0)
signal.signal(signal.SIGALRM, ring)
try:
    signal.setitimer(signal.ITIMER_REAL, float(delay))
    first = lm("a")[0]
    signal.setitimer(signal.ITIMER_REAL, 0)
except Late:
    first = "late"
print(first, lm("b")[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "delays"),
    [
        ("openai/tiny", [0.01, 0.05, 0.1, 0.2, 0.3, 0.45]),
        ("mistral/tiny", [0.3, 0.7, 1.2, 1.8, 2.5]),
    ],
)
def test_a_first_call_that_is_interrupted_spoils_no_later_one(
    model: str, delays: list[float], server: Loopback
) -> None:
    for delay in delays:
        done = program(FIRST, model, server.v1, delay)
        assert done.stdout in {"late <b>\n", "<a> <b>\n"}, (delay, done.stderr)


TOGETHER = """
import sys, threading
from lmconf.runtime import LM

lm = LM("mistral/tiny", api_base=sys.argv[1], api_key="", cache=False, num_retries=0)
said = []
threads = [threading.Thread(target=lambda: said.append(lm("a")[0])) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(said)
"""


def test_first_calls_of_several_threads_wait_for_one_import(server: Loopback) -> None:
    done = program(TOGETHER, server.v1)
    assert done.stdout == f"{['<a>'] * 8}\n", done.stderr


REMAINS = """
import sys
import time
import litellm
del sys.modules["litellm"]  # as an import leaves it that was interrupted
from lmconf.runtime import LM
print(LM("mistral/tiny", api_base=sys.argv[1], api_key="", cache=False, num_retries=0)("a")[0])
assert sys.modules["litellm"] is not litellm
assert sys.modules["litellm.main"].litellm is sys.modules["litellm"]
"""


def test_the_remains_of_a_programs_own_interrupted_import_are_not_used(server: Loopback) -> None:
    done = program(REMAINS, server.v1)
    assert (done.returncode, done.stdout) == (0, "<a>\n"), done.stderr


def test_an_exception_that_a_call_is_made_in_the_course_of_is_not_taken_for_its_failure() -> None:
    """Whoever is told that the time is over may ask once more."""
    lm = LM("openai/tiny", api_base="http://127.0.0.1:1/v1", api_key="", num_retries=0)

    def ring(number: int, frame: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        time.sleep(5)
    except SoftTimeLimitExceeded:
        with pytest.raises(ConnectionFailed):
            lm.ask("hi")
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_interrupted_batch_does_not_wait_for_its_server(server: Loopback) -> None:
    asked: list[str] = []

    def slow(received: Received) -> Reply:
        asked.append(received.json["messages"][-1]["content"])
        return Reply(json=chat("late"), pause=6.0)

    def ring(number: int, frame: object) -> None:
        raise SoftTimeLimitExceeded

    with (
        serving() as silent,
        LM("openai/tiny", api_base=silent.v1, api_key="", cache=False, num_retries=5) as lm,
    ):
        silent.script = slow
        before = signal.signal(signal.SIGALRM, ring)
        begun = time.monotonic()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(SoftTimeLimitExceeded):
                lm.batch([str(number) for number in range(50)], max_concurrency=4)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - begun < 4.0
        sent = len(asked)
        time.sleep(0.5)
        assert len(asked) == sent <= 4
