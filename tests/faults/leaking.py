"""Makes many calls, and writes down how much memory and how many files the process holds meanwhile.

    python -m tests.faults.leaking KIND CALLS

`KIND` is one of `KINDS`. The last line of the output is JSON: the resident memory in bytes and
the number of open files after the warm-up and at ten places until the end, and how many files were
open before the LM was made and after it was closed.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmconf.errors import CallError
from lmconf.runtime import LM
from tests.loopback import chat, chat_chunks, sse
from tests.sockets import HEAD, STREAM_HEAD, chunked

AT_ONCE = 16
COUNT = itertools.count()
BODY = json.dumps(chat()).encode()
WHOLE = HEAD % len(BODY) + BODY
STREAM = STREAM_HEAD.replace(b"connection: close\r\n", b"")
STREAM += chunked(*sse(*chat_chunks("Hel", "lo."))) + b"0\r\n\r\n"
REFUSED = b"HTTP/1.1 503 No\r\nretry-after-ms: 1\r\ncontent-length: 2\r\n\r\n{}"
CUT = (HEAD % len(BODY)) + BODY[:20]


class Server(asyncio.Protocol):
    """Answers at once, with as little work as can be; every tenth "faulty" request fails."""

    asked = 0
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self._held = transport, b""

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, ends, body = self._held.partition(b"\r\n\r\n")
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place > 0 else 0
        if not ends or len(body) < length:
            return
        self._held = b""
        Server.asked += 1
        if b"faulty" in body and Server.asked % 10 < 2:
            self.transport.write(REFUSED if Server.asked % 10 else CUT)
            if not Server.asked % 10:
                self.transport.close()
        else:
            self.transport.write(STREAM if b'"stream"' in body else WHOLE)


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server on an event loop and a thread of its own."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Server, "127.0.0.1", 0, backlog=128))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def in_tasks(lm: LM, prompt: str, calls: int) -> None:
    async def run() -> None:
        left = iter(range(calls))

        async def ask() -> None:
            for _ in left:
                assert await lm.acall(prompt.format(next(COUNT))) == ["Hello."]

        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))

    asyncio.run(run())


def in_turn(lm: LM, prompt: str, calls: int) -> None:
    for _ in range(calls):
        assert lm(prompt.format(next(COUNT))) == ["Hello."]


def in_streams(lm: LM, prompt: str, calls: int) -> None:
    for number in range(calls):
        if number % 5:
            assert "".join(lm.stream(prompt.format(next(COUNT)))) == "Hello."
        else:
            with lm.stream(prompt.format(next(COUNT))) as stream:
                assert next(stream) == "Hel"


def in_threads(lm: LM, prompt: str, calls: int) -> None:
    def ask(number: int) -> None:
        try:
            assert lm(prompt.format(next(COUNT))) == ["Hello."]
        except CallError:
            assert "faulty" in prompt

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(ask, range(calls)):
            pass


KINDS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "tasks": (in_tasks, "hi", {}),
    "turn": (in_turn, "hi", {}),
    "streams": (in_streams, "hi", {}),
    "threads": (in_threads, "hi", {}),
    "faults": (in_threads, "faulty", {"num_retries": 1, "retry": {"initial": 0.001}}),
    "hits": (in_turn, "hi", {"cache": {"store": {"backend": "memory"}}}),
    "kept": (in_turn, "hi {}", {"cache": {"store": {"backend": "memory", "max_entries": 1000}}}),
}
"""How the calls are made, what they ask, and the settings of the LM."""


def held() -> tuple[int, int]:
    """The resident memory in bytes, and how many files are open."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096, len(list(Path("/proc/self/fd").iterdir()))


def left(files: int) -> int:
    """How many files are open once no more than `files` are, or after five seconds.

    The server closes its ends when it hears that the others are closed.
    """
    end = time.monotonic() + 5
    while held()[1] > files and time.monotonic() < end:
        time.sleep(0.02)
    return held()[1]


def measure(kind: str, calls: int) -> dict[str, Any]:
    way, prompt, settings = KINDS[kind]
    given: dict[str, Any] = {"api_key": "", "cache": False, "num_retries": 0, **settings}
    history = {"max": 1000}
    with serving() as base:
        before = held()[1]
        with LM("openai/tiny", api_base=base, history=history, **given) as lm:
            way(lm, prompt, max(calls // 10, 2000))
            at = [held()]
            began = time.monotonic()
            for _ in range(10):
                way(lm, prompt, calls // 10)
                at.append(held())
            took = time.monotonic() - began
        after = left(before)
    return {
        "kind": kind,
        "calls": calls,
        "seconds": round(took, 1),
        "asked": Server.asked,
        "memory": [memory for memory, _ in at],
        "files": [files for _, files in at],
        "before": before,
        "after": after,
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))  # noqa: T201 - its only output
