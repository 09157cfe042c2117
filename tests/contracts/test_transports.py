"""What every transport owes, shown for each kind: those that come with lmconf and one's own."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lmconf import transports
from lmconf.errors import BadResponse, ConnectionFailed, RateLimited
from lmconf.testing import TransportContract, answer, fake
from lmconf.testing.contracts import KEY
from lmconf.transports import Connection, Json, Request, Transport
from lmconf.transports.specs import TransportSpec
from tests.loopback import Loopback, Received, Reply, chat, chat_chunks, serving, sse


def answers(received: Received) -> Reply:
    if received.json.get("stream"):
        return Reply(pieces=sse(*chat_chunks("Hel", "lo", ".")))
    return Reply(json=chat())


def refuses(received: Received) -> Reply:
    return Reply(status=429, json={"error": {"message": f"slow down, {KEY}"}})


def cuts(received: Received) -> Reply:
    chunks = chat_chunks("Hel", finish=None, usage=False)
    return Reply(pieces=sse(*chunks, done=False))


class OnLoopback(TransportContract):
    """The contract for a transport that speaks to a server on loopback."""

    text = "Hello."
    server: Loopback

    @pytest.fixture(autouse=True)
    def _serve(self) -> Iterator[None]:
        with serving() as server:
            self.server = server
            yield

    def made(self) -> object:
        raise NotImplementedError

    def make(self) -> object:
        self.server.script = answers
        return self.made()

    def make_refused(self) -> object:
        self.server.script = refuses
        return self.made()

    def request_count(self) -> int:
        return len(self.server.received)

    def request(self) -> Request:
        return Request(
            route="chat",
            provider="openai",
            model="tiny",
            connection=Connection(base=self.server.v1, key=KEY),
            messages=({"role": "user", "content": "Say hello."},),
        )


class TestLiteLLM(OnLoopback):
    def made(self) -> Transport:
        return transports.make(TransportSpec())

    def make_cut(self) -> object:
        self.server.script = cuts
        return self.made()

    def transport(self, own: object) -> Transport:
        """Return it as it is: it lacks nothing."""
        assert isinstance(own, type(self.made()))
        return own


class Plain:
    """A transport of one's own with nothing but `complete`, on the standard library."""

    def complete(self, request: Request) -> Json:
        body = {"model": request.model, "messages": list(request.messages), **request.settings}
        return dict(json.loads(self.posted(request, body)))

    def posted(self, request: Request, body: Json) -> str:
        url = f"{request.connection.base}/chat/completions"
        headers = {"Authorization": f"Bearer {request.connection.key}"}
        asked = urllib.request.Request(url, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(asked) as response:
                text: str = response.read().decode()
                return text
        except urllib.error.HTTPError as error:
            with closing(error):
                status = error.code
        raise RateLimited("slow down", status=status)


class TestCompleteAlone(OnLoopback):
    def made(self) -> Plain:
        return Plain()


class Streaming(Plain):
    def stream(self, request: Request) -> Iterator[Json]:
        text = self.posted(request, {"messages": list(request.messages), "stream": True})
        for line in text.splitlines():
            if line.startswith("data: {"):
                yield json.loads(line[6:])


class TestStreaming(OnLoopback):
    def made(self) -> Streaming:
        return Streaming()

    def make_cut(self) -> object:
        self.server.script = cuts
        return self.made()


class Asynchronous:
    """A transport of one's own with async methods alone."""

    def __init__(self, *, cut: bool = False, refused: bool = False) -> None:
        self.cut = cut
        self.refused = refused
        self.sent = 0

    async def acomplete(self, request: Request) -> str:
        await self._send()
        return "Hello."

    async def astream(self, request: Request) -> AsyncIterator[str]:
        await self._send()
        yield "Hel"
        if self.cut:
            raise BadResponse("the line went dead")
        yield "lo."

    async def _send(self) -> None:
        self.sent += 1
        await asyncio.sleep(0)
        if self.refused:
            raise ConnectionFailed("nobody there")


class TestAsyncAlone(TransportContract):
    text = "Hello."
    made: Asynchronous

    def make(self) -> Asynchronous:
        self.made = Asynchronous()
        return self.made

    def make_refused(self) -> Asynchronous:
        self.made = Asynchronous(refused=True)
        return self.made

    def make_cut(self) -> Asynchronous:
        self.made = Asynchronous(cut=True)
        return self.made

    def request_count(self) -> int:
        return self.made.sent


class TestFake(TransportContract):
    text = "Hello there."

    def make(self) -> object:
        self.fake = fake(self.text, chunk=3)
        return self.fake

    def make_refused(self) -> object:
        self.fake = fake(RateLimited("slow down"))
        return self.fake

    def make_cut(self) -> object:
        self.fake = fake(answer("Hello", then=BadResponse("the line went dead")))
        return self.fake

    def request_count(self) -> int:
        return len(self.fake.requests)


PACKAGE = """
class Transport:
    def __init__(self, greeting="Hello."):
        self.greeting = greeting

    def complete(self, request):
        return [self.greeting]
"""

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a package `acme_lm` with the entry point that is given."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(entry: str) -> None:
        (tmp_path / "acme_lm.py").write_text(PACKAGE)
        about = tmp_path / "acme_lm-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-lm\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[lmconf.transports]\n{entry}\n")

    yield installed
    sys.modules.pop("acme_lm", None)


class TestInstalled(TransportContract):
    """A transport that another package brings."""

    text = "Hello."

    @pytest.fixture(autouse=True)
    def _install(self, install: Install) -> None:
        install("acme = acme_lm:Transport")

    def make(self) -> Transport:
        return transports.make(TransportSpec(use="acme"))
