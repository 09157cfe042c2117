"""A server for many calls at once: it answers each by its prompt, and fails some of them."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from tests.loopback import chat, chat_chunks, sse
from tests.sockets import STREAM_HEAD, chunked

FAULTS = ("429", "500", "503", "reset", "close", "cut", "garbage", "empty", "error in a 200")
SHARE = 0.3


def said_to(prompt: str) -> str:
    """What the right answer to `prompt` is."""
    return f"{prompt[::-1]} is what you said"


class Storm:
    """Counts what it is asked, and what it did; a request fails by a draw keyed by its content."""

    def __init__(self, share: float = SHARE) -> None:
        self.share = share
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.open: set[asyncio.StreamWriter] = set()
        self.base = ""

    def fault_of(self, prompt: str) -> str:
        """What goes wrong with the request for `prompt` this time; nothing: ""."""
        draw = random.Random(f"{prompt} {self.asked[prompt]}")
        return draw.choice(FAULTS) if draw.random() < self.share else ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            self.open.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        prompt = body["messages"][0]["content"]
        self.asked[prompt] += 1
        fault = self.fault_of(prompt)
        self.faults[fault] += 1
        await asyncio.sleep(random.Random(prompt).random() * 0.01)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault == "close":
            return False
        if not fault:
            self.answered[prompt] += 1
        if body.get("stream") and not fault:
            text = said_to(prompt)
            writer.write(STREAM_HEAD.replace(b"connection: close\r\n", b""))
            writer.write(chunked(*sse(*chat_chunks(text[:4], text[4:]))) + b"0\r\n\r\n")
        else:
            writer.write(_reply(fault, prompt))
        await writer.drain()
        return fault != "cut"


def _reply(fault: str, prompt: str) -> bytes:
    status = HTTPStatus(int(fault)) if fault.isdigit() else HTTPStatus.OK
    right = json.dumps(chat(said_to(prompt))).encode()
    body = {
        "": right,
        "cut": right,
        "empty": b"",
        "garbage": b'{"choices": [{"message": {"content": "wrong',
        "error in a 200": b'{"error": {"message": "no", "code": 503}}',
    }.get(fault, b'{"error": {"message": "no"}}')
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "content-type: application/json"]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        lines.append("retry-after-ms: 2")
    lines += [f"x-request-id: {prompt}", f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + (body[:-20] if fault == "cut" else body)


@contextmanager
def storming(share: float = SHARE) -> Iterator[Storm]:
    """A running server, on an event loop and a thread of its own."""
    storm = Storm(share)
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(storm.talk, "127.0.0.1", 0, backlog=2048)

    server = loop.run_until_complete(start())
    storm.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield storm
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()
