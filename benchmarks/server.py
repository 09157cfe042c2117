"""A server of chat completions that costs as little as it can: one process, one canned answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "benchmark",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "The capital of Japan is Tokyo. " * 60},
        }
    ],
    "usage": {"prompt_tokens": 8, "completion_tokens": 420, "total_tokens": 428},
}


class _Peer(asyncio.Protocol):
    """One connection: answers each request whose body has come."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._left += data
        while (end := self._left.find(b"\r\n\r\n")) >= 0:
            head = self._left[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            whole = end + 4 + length
            if len(self._left) < whole:
                return
            self._left = self._left[whole:]
            self._transport.write(self._answer)


async def serve() -> None:
    body = json.dumps(ANSWER).encode()
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    server = await asyncio.get_running_loop().create_server(
        lambda: _Peer(head.encode() + body), "127.0.0.1", 0, backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # It ends with whoever started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def serving() -> Iterator[str]:
    """Serve in a process of its own; yield the address of the API."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(child.stdout.readline())}/v1"
        finally:
            assert child.stdin is not None
            child.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
