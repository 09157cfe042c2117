"""How long what an LM opens stays open: over copies, closing, loops, forks and interruptions."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import CallError, Closed, Timeout
from lmconf.runtime import LM
from lmconf.transports import KINDS, Json, Request
from tests.artefacts import MARK, WAYS, ask, failure_of, held, of_error
from tests.loopback import Reply, chat, chat_chunks, serving, sse
from tests.sockets import STREAM_HEAD, Peer, chunked, raw

ROOT = Path(__file__).parents[2]
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
may_fork = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def lm_at(base: str, **settings: Any) -> LM:
    given: dict[str, Any] = {"api_key": "", "cache": False, "num_retries": 0, **settings}
    return LM(given.pop("model", "openai/tiny"), api_base=base, **given)


carriers = pytest.mark.parametrize("model", ["openai/tiny", "deepinfra/tiny", "mistral/tiny"])
"""The request goes out directly, through litellm and an SDK, and through litellm alone."""


def asked_endless(peer: Peer) -> None:
    """Answer one request with a stream that never ends."""
    peer.request()
    endless(peer)


def endless(peer: Peer) -> None:
    """Stream for ever."""
    peer.say(STREAM_HEAD)
    number = 0
    while not peer.ending.wait(0.02):
        number += 1
        chunks = chat_chunks(f"piece {number} ", finish=None, usage=False)
        peer.say(chunked(*sse(*chunks, done=False)))


def port_teller(peer: Peer) -> None:
    """Answer each request of a connection with the client's port."""
    port = peer.link.getpeername()[1]
    while peer.request():
        body = json.dumps(chat(str(port))).encode()
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


# Who shares what


class Counting:
    """A transport that counts how often it is made and closed."""

    def __init__(self, **arguments: object) -> None:
        self.made = MADE
        MADE.append("made")

    def complete(self, request: Request) -> Json:
        return chat()

    async def acomplete(self, request: Request) -> Json:
        return chat()

    def stream(self, request: Request) -> Iterator[Json]:
        for chunk in chat_chunks("Hel", "lo."):
            yield chunk
            if self.made[-1] == "closed":
                raise Closed("closed meanwhile")

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        for chunk in chat_chunks("Hel", "lo."):
            yield chunk

    def close(self) -> None:
        self.made.append("closed")


MADE: list[str] = []


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., LM]:
    """LMs that send through `Counting`."""
    MADE.clear()
    monkeypatch.setitem(KINDS, "counting", lambda arguments, advice: Counting(**arguments))

    def made(**settings: Any) -> LM:
        return lm_at("http://127.0.0.1:9/v1", transport="counting", **settings)

    return made


def test_copies_share_one_transport_from_the_start_and_the_last_one_closes_it(
    counting: Callable[..., LM],
) -> None:
    first = counting()
    second = first.copy(temperature=0.5)
    third = second.copy(num_retries=1)
    assert MADE == []
    third("hi")
    first("hi")
    second("hi")
    assert MADE == ["made"]
    first.close()
    third.close()
    second("hi")
    assert MADE == ["made"]
    second.close()
    assert MADE == ["made", "closed"]
    second.close()
    assert MADE == ["made", "closed"]


def test_an_lm_that_is_gone_needs_nothing_any_more(counting: Callable[..., LM]) -> None:
    first = counting()
    second = first.copy()
    second("hi")
    del first
    assert MADE == ["made"]
    del second
    assert MADE == ["made", "closed"]


def test_one_that_is_closed_and_one_that_is_gone_count_alike(counting: Callable[..., LM]) -> None:
    first = counting()
    second = first.copy()
    first("hi")
    second.close()
    del second
    first("hi")
    assert MADE == ["made"]
    del first
    assert MADE == ["made", "closed"]


def test_a_call_in_flight_needs_the_transport_of_an_lm_that_is_gone(
    counting: Callable[..., LM],
) -> None:
    stream = counting().stream("hi")
    assert next(stream) == "Hel"
    assert MADE == ["made"]
    assert "".join(stream) == "lo."
    assert MADE == ["made", "closed"]


def test_other_arguments_make_another_transport(counting: Callable[..., LM]) -> None:
    first = counting()
    second = first.copy(transport={"use": "counting", "args": {"region": "north"}})
    first("hi")
    second("hi")
    assert MADE == ["made", "made"]
    second.close()
    assert MADE[-1] == "closed"
    first("hi")


def test_a_copy_of_a_closed_lm_works(counting: Callable[..., LM]) -> None:
    first = counting()
    first("hi")
    first.close()
    second = first.copy()
    assert second("hi") == ["Hello."]
    assert MADE == ["made", "closed", "made"]


async def test_a_block_closes_its_lm_and_a_profile_its_lms(counting: Callable[..., LM]) -> None:
    async with counting() as lm:
        assert await lm.acall("hi") == ["Hello."]
    assert MADE == ["made", "closed"]
    assert lm.closed
    document = {
        "defaults": {"cache": False},
        "lms": {
            name: {"model": "openai/tiny", "api_key": "", "transport": "counting"}
            for name in ("a", "b")
        },
    }
    async with lmconf.load(document) as profile:
        one = profile["a"]
        await one.acall("hi")
        await profile["b"].acall("hi")
    assert MADE[2:] == ["made", "made", "closed", "closed"]
    assert one.closed


def test_the_end_of_the_interpreter_closes_a_transport() -> None:
    code = (
        "import lmconf\n"
        "from lmconf.transports import KINDS\n"
        "from tests.end_to_end.test_lifetime import Counting\n"
        "class Telling(Counting):\n"
        "    def close(self): print('closed', flush=True)\n"
        "KINDS['telling'] = lambda arguments, advice: Telling()\n"
        "lm = lmconf.LM('openai/tiny', api_key='', cache=False, transport='telling')\n"
        "print(lm('hi'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == ("['Hello.']\nclosed\n", "")


# Closing


FORMS: dict[str, Callable[[LM], Any]] = {
    "call": lambda lm: lm("hi"),
    "ask": lambda lm: lm.ask("hi"),
    "acall": lambda lm: asyncio.run(lm.acall("hi")),
    "aask": lambda lm: asyncio.run(lm.aask("hi")),
    "stream": lambda lm: list(lm.stream("hi")),
    "astream": lambda lm: ask(lm, "astream"),
    "launch": lambda lm: lm.launch(),
    "batch": lambda lm: lm.batch(["hi"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_closed_lm_raises_before_anything_is_sent(form: str) -> None:
    with serving(chat()) as server:
        lm = lm_at(server.v1)
        lm.close()
        with pytest.raises(Closed, match="closed"):
            FORMS[form](lm)
        assert server.received == []


def test_a_stream_that_was_not_begun_when_its_lm_closed_raises() -> None:
    async def read() -> None:
        stream = lm.astream("hi")
        await lm.aclose()
        async for _ in stream:
            pass

    with serving(chat()) as server:
        lm = lm_at(server.v1)
        stream = lm.stream("hi")
        lm.close()
        with pytest.raises(Closed):
            next(stream)
        lm = lm_at(server.v1)
        with pytest.raises(Closed):
            asyncio.run(read())
        assert server.received == []


def test_closing_ends_a_call_that_waits_in_another_thread() -> None:
    """It says that the LM was closed, at once, and is not tried again."""
    begun = threading.Event()

    def silent(peer: Peer) -> None:
        peer.request()
        begun.set()
        peer.stall()

    failures: list[BaseException] = []
    with raw(silent) as base:
        lm = lm_at(base, num_retries=3, api_key=MARK)
        thread = threading.Thread(
            target=lambda: failures.append(failure_of(lambda: lm("hi"))), daemon=True
        )
        thread.start()
        assert begun.wait(20)
        time.sleep(0.1)
        lm.close()
        thread.join(5)
        assert not thread.is_alive()
    assert type(failures[0]) is Closed
    assert held(of_error(failures[0])) == []


def test_closing_ends_calls_and_streams_on_event_loops() -> None:
    async def both(lm: LM) -> None:
        stream = lm.astream("hi")
        await anext(stream)
        call = asyncio.create_task(lm.acall("hi"))
        await asyncio.sleep(0.3)
        await lm.aclose()
        with pytest.raises(Closed):
            await call
        with pytest.raises(Closed):
            async for _ in stream:
                pass

    def first_streams(peer: Peer) -> None:
        if b'"stream":true' in peer.request().replace(b" ", b""):
            endless(peer)
        peer.stall()

    with raw(first_streams) as base:
        asyncio.run(both(lm_at(base)))


def test_closing_from_a_thread_frees_the_connections_of_a_running_loop() -> None:
    gone = threading.Event()

    def answering(peer: Peer) -> None:
        peer.request()
        body = b'{"choices": [{"index": 0, "message": {"content": "Hello."}}]}'
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        if peer.gone():
            gone.set()

    async def call(lm: LM) -> None:
        await lm.acall("hi")
        await asyncio.to_thread(lm.close)
        for _ in range(100):
            await asyncio.sleep(0.02)
            if gone.is_set():
                return

    with raw(answering) as base:
        asyncio.run(call(lm_at(base)))
    assert gone.is_set()


# Event loops


def test_loops_one_after_another_and_at_once_mixed_with_threads_warn_of_nothing(
    tmp_path: Path,
) -> None:
    """A program that makes errors of all warnings sees none, and nothing on standard error."""
    with serving() as server:
        server.script = lambda received: (
            Reply(pieces=sse(*chat_chunks("Hel", "lo.")))
            if received.json.get("stream")
            else Reply(json=chat())
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", LOOPS, server.v1],
            capture_output=True,
            check=False,
            text=True,
            timeout=120,
            cwd=ROOT,
        )
    assert (done.stdout, done.stderr) == ("done\n", "")
    assert len(server.received) == 3 * 4 + 2 * 8 + 8


LOOPS = """
import asyncio, gc, sys, threading, warnings
import lmconf
lm = lmconf.LM("openai/tiny", api_base=sys.argv[1], api_key="", cache=False, num_retries=0)

async def some(number):
    answers = await asyncio.gather(*(lm.acall("hi") for _ in range(number)))
    assert answers == [["Hello."]] * number
    assert lm("hi") == ["Hello."]
    async with lm.astream("hi") as stream:
        assert "".join([piece async for piece in stream]) == "Hello."
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == {asyncio.current_task()}

for _ in range(3):
    asyncio.run(some(2))
    gc.collect()
threads = [threading.Thread(target=asyncio.run, args=(some(6),)) for _ in range(2)]
threads += [threading.Thread(target=lm, args=("hi",)) for _ in range(7)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert lm("hi") == ["Hello."]
gc.collect()
lm.close()
del lm
gc.collect()
print("done")
"""


# Forks


def in_child(act: Callable[[], object]) -> object:
    """Return what `act` returns in a forked child, as text; "" if it takes too long."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(30)
            os.write(theirs, str(act()).encode())
        except BaseException as error:  # noqa: BLE001 - the parent shall see it
            os.write(theirs, repr(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as said:
        text = said.read().decode()
    os.waitpid(pid, 0)
    return text


@forks
@may_fork
def test_a_child_opens_connections_of_its_own_and_the_parents_go_on() -> None:
    async def twice() -> list[str]:
        return [(await lm.acall("hi"))[0] for _ in range(2)]

    def child() -> list[str]:
        made = [lm("hi")[0], *asyncio.run(twice()), lm("hi")[0], *lm.copy()("hi")]
        lm.close()
        return made

    with raw(port_teller) as base:
        lm = lm_at(base)
        before = lm("hi")[0]
        ports = str(in_child(child)).strip("[]").replace("'", "").split(", ")
        assert len(ports) == 5
        assert all(port.isdigit() for port in ports), ports
        first, one, other, again, copied = ports
        assert first == again == copied
        assert one == other
        assert len({before, first, one}) == 3
        assert lm("hi")[0] == before
        lm.close()


@forks
@may_fork
def test_a_child_lets_go_of_the_parents_connections() -> None:
    """The server sees the end of a connection when the parent closes it, while the child lives."""
    gone = threading.Event()

    def answering(peer: Peer) -> None:
        peer.request()
        body = b'{"choices": [{"index": 0, "message": {"content": "Hello."}}]}'
        peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        if peer.gone(20):
            gone.set()

    with raw(answering) as base:
        lm = lm_at(base)
        lm("hi")
        ours, theirs = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(theirs)
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(30)
                os.read(ours, 1)
            finally:
                os._exit(0)
        os.close(ours)
        time.sleep(0.2)
        lm.close()
        assert gone.wait(5)
        os.close(theirs)
        os.waitpid(pid, 0)


@forks
@may_fork
async def test_a_child_of_a_running_loop_disturbs_neither_the_loop_nor_its_connections() -> None:
    with raw(port_teller) as base:
        lm = lm_at(base)
        before = await lm.acall("hi")
        other = in_child(lambda: lm("hi")[0])
        assert str(other).isdigit()
        assert [other] != before
        assert await lm.acall("hi") == before
        await lm.aclose()


@forks
@may_fork
def test_a_fork_in_the_midst_of_other_threads_calls_leaves_no_lock_taken() -> None:
    done = threading.Event()
    with serving(chat()) as server:
        lm = lm_at(server.v1)
        lm("hi")

        def calling() -> None:
            while not done.is_set():
                lm("hi")
                lm.copy(temperature=0.1)("hi")

        threads = [threading.Thread(target=calling) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            with raw(port_teller) as base:
                here = lm.copy(api_base=base, api_key="")
                for _ in range(8):
                    answer = in_child(lambda: (here("hi"), len(lm.history) > 0)[0][0])
                    assert str(answer).isdigit(), answer
        finally:
            done.set()
            for thread in threads:
                thread.join()
        lm.close()


POOLED: list[LM] = []


def pooled(number: int) -> str:
    answers: list[str] = POOLED[0](f"number {number}")
    return answers[0]


@forks
@may_fork
def test_a_pool_of_forked_workers_calls_at_once() -> None:
    with serving() as server:
        server.script = lambda received: Reply(json=chat(received.json["messages"][0]["content"]))
        POOLED[:] = [lm_at(server.v1)]
        POOLED[0]("warm")
        with multiprocessing.get_context("fork").Pool(4) as pool:
            answers = pool.map(pooled, range(16), chunksize=1)
        assert answers == [f"number {number}" for number in range(16)]
        assert POOLED[0]("still") == ["still"]
        POOLED.pop().close()


# Streams that are left, and calls that are interrupted


class Heard:
    """A callback that keeps what it hears of ends."""

    def __init__(self) -> None:
        self.ends: list[object] = []

    def on_end(self, event: Any) -> None:
        self.ends.append("answer")

    def on_error(self, event: Any) -> None:
        self.ends.append(type(event.error))


def left_by_close(lm: LM) -> None:
    stream = lm.stream("hi")
    next(stream)
    stream.close()


def left_in_a_block(lm: LM) -> None:
    with lm.stream("hi") as stream:
        next(stream)


def dropped(lm: LM) -> None:
    next(lm.stream("hi"))


def dropped_as_chunks(lm: LM) -> None:
    for _ in lm.stream("hi").chunks():
        break


async def aleft_by_close(lm: LM) -> None:
    stream = lm.astream("hi")
    await anext(stream)
    await stream.aclose()


async def aleft_in_a_block(lm: LM) -> None:
    async with lm.astream("hi") as stream:
        await anext(stream)


async def adropped(lm: LM) -> None:
    async for _ in lm.astream("hi"):
        break


async def adropped_as_chunks(lm: LM) -> None:
    async for _ in lm.astream("hi").chunks():
        break


async def kept_to_the_end_of_the_loop(lm: LM) -> None:
    stream = lm.astream("hi")
    await anext(stream)
    KEPT.append(stream)


KEPT: list[object] = []
LEAVING = [left_by_close, left_in_a_block, dropped, dropped_as_chunks]
ALEAVING = [
    aleft_by_close,
    aleft_in_a_block,
    adropped,
    adropped_as_chunks,
    kept_to_the_end_of_the_loop,
]


@carriers
@pytest.mark.parametrize("leave", [*LEAVING, *ALEAVING])
def test_a_stream_that_is_left_frees_its_connection_and_fails(
    leave: Callable[[LM], Any], model: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is stored, no task stays behind, and no garbage collection is waited for."""
    freed = threading.Event()

    def script(peer: Peer) -> None:
        try:
            asked_endless(peer)
        finally:
            freed.set()

    async def run(leave: Callable[[LM], Any]) -> None:
        await leave(lm)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if freed.is_set() or KEPT:
                break
        assert asyncio.all_tasks() == {asyncio.current_task()}

    heard = Heard()
    store = {"backend": "disk", "path": str(tmp_path)}
    with raw(script) as base:
        settings: dict[str, Any] = {
            "model": model,
            "endpoint": "same",
            "cache": {"store": store},
            "cache_in_memory": False,
        }
        lm = lm_at(base, callbacks=[heard], **settings)
        gc.disable()
        try:
            if leave in ALEAVING:
                asyncio.run(run(leave))
            else:
                leave(lm)
            assert freed.wait(5)
            KEPT.clear()
        finally:
            gc.enable()
        assert heard.ends == [Closed]
        assert not lm.history
    assert caplog.records == []
    with serving(Reply(pieces=sse(*chat_chunks("Another.")))) as server:
        assert ask(lm_at(server.v1, **settings), "stream") == "Another."
        server.answers(Reply(status=500))
        assert ask(lm_at(server.v1, **settings), "stream") == "Another."  # which was whole


@carriers
def test_a_cancelled_call_passes_on_the_cancellation_and_closes_its_connection(
    model: str,
) -> None:
    gone = threading.Event()
    seen = 0

    def script(peer: Peer) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            port_teller(peer)
            return
        peer.request()
        if peer.gone():
            gone.set()

    async def cancel() -> None:
        call = asyncio.create_task(lm.acall("hi"))
        await asyncio.sleep(0.5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await lm.acall("hi"))[0].isdigit()
        await asyncio.sleep(0.05)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    heard = Heard()
    with raw(script) as base:
        lm = lm_at(base, model=model, callbacks=[heard], num_retries=3)
        asyncio.run(cancel())
        assert gone.wait(5)
    assert heard.ends == [asyncio.CancelledError, "answer"]


@pytest.mark.parametrize("way", ["call", "stream"])
@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there are no such signals here")
def test_an_interrupted_call_passes_on_the_interruption_and_closes_its_connection(way: str) -> None:
    gone = threading.Event()
    seen = 0

    def script(peer: Peer) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            port_teller(peer)
            return
        peer.request()
        threading.Timer(
            0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)
        ).start()
        if peer.gone():
            gone.set()

    with raw(script) as base:
        lm = lm_at(base, num_retries=3)
        with pytest.raises(KeyboardInterrupt):
            lm("hi") if way == "call" else next(lm.stream("hi"))
        assert gone.wait(5)
        assert lm("hi")[0].isdigit()


@carriers
@pytest.mark.parametrize("way", WAYS)
def test_no_failure_holds_the_key_however_the_call_ended(way: str, model: str) -> None:
    def stalling(peer: Peer) -> None:
        peer.request()
        peer.say(STREAM_HEAD + chunked(sse(*chat_chunks("Hel"))[0]))
        peer.stall()

    with raw(stalling) as base:
        for settings in ({"timeout": 0.3}, {"timeout": {"total": 30, "idle": 0.3}}):
            lm = lm_at(base, model=model, api_key=MARK, headers={"X-Api-Key": MARK}, **settings)
            error = failure_of(lambda lm=lm: ask(lm, way))  # type: ignore[misc]
            assert isinstance(error, Timeout)
            assert held(of_error(error)) == []
        lm = lm_at(base, model=model, api_key=MARK, deadline=0.3)
        assert held(of_error(failure_of(lambda: ask(lm, way)))) == []
        lm.close()
        assert held(of_error(failure_of(lambda: ask(lm, way)))) == []


def test_a_failure_in_mid_stream_says_what_came_and_holds_no_key() -> None:
    with raw(asked_endless) as base:
        lm = lm_at(base, api_key=MARK)
        stream = lm.stream("hi")
        assert next(stream) == "piece 1 "
        lm.close()
        with pytest.raises(CallError) as raised:
            list(stream)
        assert type(raised.value) is Closed
        assert raised.value.partial.startswith("piece 1 ")
        assert held(of_error(raised.value)) == []
