"""Law 5 as people see errors: six tools that print the locals of frames find no secret in them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.cli.entry import run
from lmconf.runtime import LM
from lmconf.spec.build import make_lm
from lmconf.transports import Json, Request
from tests.artefacts import MARK, PARTS
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse
from tests.renderers import RENDERERS, errors_of, held_in_locals, without_callers

PROMPT = f"a prompt that tells {MARK}"
SECRETS: dict[str, Any] = {
    "api_key": MARK,
    "headers": {"X-Team": {"$env": "ACME"}, "X-Api-Key": MARK, "X-Form": {"$file": "secret.txt", "format": "t={}"}},
    "extra": {"tool": [{"access_token": MARK}], "by": {"$env": "ACME", "format": "tok={}"}},
}  # fmt: skip
AWS: dict[str, Any] = {
    "api_key": None,
    "aws_region_name": "eu-central-1",
    "aws_access_key_id": {"$env": "ACME"},
    "aws_secret_access_key": {"$env": "ACME"},
    "aws_session_token": {"$env": "ACME"},
}
SERVER: dict[str, Any] = {
    "use": "command",
    "command": [sys.executable, "-c", "import os, sys; sys.exit(os.environ['HF_TOKEN'])"],
    "env": {"HF_TOKEN": MARK, "OTHER": {"$env": "ACME", "format": "x={}"}},
}
LISTING = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": os.environ["HF_TOKEN"]}]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TELLING: dict[str, Any] = {**SERVER, "command": [sys.executable, "-c", LISTING, "{port}"]}
TRAINING: dict[str, Any] = {
    "use": "command",
    "command": [sys.executable, "-c", "import os, sys; sys.exit(os.environ['HF_TOKEN'])", "{output}"],
    "env": {"HF_TOKEN": {"$env": "ACME", "format": "x={}"}},
}  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
] * 12
REFUSAL = Reply(status=401, json={"error": {"message": f"the key {MARK} is not welcome"}})
BROKEN = Reply(pieces=sse(*chat_chunks("Hel", "lo", finish=None, usage=False), done=False))


class Place:
    """Where a case makes its LMs: beside a server that answers as it is told."""

    def __init__(self, server: Loopback, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def lm(self, *replies: Reply | dict[str, Any], **settings: Any) -> LM:
        self.server.answers(*(replies or (REFUSAL,)))
        given = {"model": "openai/tiny", "api_base": self.server.v1, "num_retries": 0, **SECRETS}
        return LM(**{**given, **settings})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACME", MARK)
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_text(f"{MARK}\n")
    live_store(MemoryStore()).clear()
    with serving(chat()) as server:
        yield Place(server, tmp_path)


class Own:
    """A transport of one's own that fails with what it was given in its hands."""

    def __init__(self, failure: Callable[[], BaseException]) -> None:
        self._failure = failure

    def complete(self, request: Request) -> Json:
        headers, key = dict(request.connection.headers), request.connection.key
        body = {**request.settings, **request.extra, "messages": list(request.messages)}
        held = [headers, body, key]
        assert held
        raise self._failure()

    async def acomplete(self, request: Request) -> Json:
        await asyncio.sleep(0)
        return self.complete(request)

    def stream(self, request: Request) -> Iterator[Json]:
        yield chat_chunks("Hel")[0]
        yield chat_chunks("Hel")[1]
        self.complete(request)

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        for chunk in self.stream(request):
            yield chunk

    def close(self) -> None: ...


def failing(kind: type[BaseException]) -> str:
    """The name of a transport that fails with an error of `kind`, which has a cause."""

    def failure() -> BaseException:
        error = kind("it broke")
        try:
            _work_on(f"Bearer {MARK}")
        except ZeroDivisionError as cause:
            error.__cause__ = cause
        return error

    name = f"failing-{kind.__name__.lower()}"
    lmconf.register_transport(name, lambda: Own(failure))
    return name


def _work_on(credential: str) -> float:
    return 1 / (len(credential) - len(credential))


def streamed(lm: LM) -> list[str]:
    with lm.stream(PROMPT) as pieces:
        return list(pieces)


def chunked(lm: LM) -> list[Any]:
    return list(lm.stream(PROMPT).chunks())


async def astreamed(lm: LM) -> list[str]:
    async with lm.astream(PROMPT) as pieces:
        return [piece async for piece in pieces]


async def achunked(lm: LM) -> list[Any]:
    return [chunk async for chunk in lm.astream(PROMPT).chunks()]


async def in_a_task(lm: LM) -> None:
    task = asyncio.create_task(lm.acall(PROMPT))
    await asyncio.wait([task])
    error = task.exception()
    assert error is not None
    raise error


async def cancelled(lm: LM) -> None:
    task = asyncio.create_task(lm.acall(PROMPT))
    await asyncio.sleep(0.3)
    task.cancel()
    await task


async def cancelled_reading(lm: LM) -> None:
    task = asyncio.create_task(astreamed(lm))
    await asyncio.sleep(0.3)
    task.cancel()
    await task


WAYS: dict[str, Callable[[LM], object]] = {
    "call": lambda lm: lm(PROMPT),
    "ask": lambda lm: lm.ask(messages=[{"role": "user", "content": PROMPT}]),
    "acall": lambda lm: asyncio.run(lm.acall(PROMPT)),
    "aask": lambda lm: asyncio.run(lm.aask(PROMPT)),
    "stream": streamed,
    "chunks": chunked,
    "astream": lambda lm: asyncio.run(astreamed(lm)),
    "achunks": lambda lm: asyncio.run(achunked(lm)),
    "batch": lambda lm: lm.batch([PROMPT, {"prompt": PROMPT, "n": 1}]),
    "abatch": lambda lm: asyncio.run(lm.abatch([PROMPT])),
    "batch, returned": lambda lm: _raise_first(lm.batch([PROMPT] * 2, errors="return")),
    "in a task": lambda lm: asyncio.run(in_a_task(lm)),
}


def _raise_first(found: list[Any]) -> None:
    raise next(each for each in found if isinstance(each, Exception))


Act = Callable[[Place], object]


class SoftLimit(Exception):
    """What a worker's time limit raises from a signal's handler, wherever that falls."""


class HardLimit(BaseException):
    """The same, past every `except Exception`."""


def _signalled(kind: type[BaseException], act: Callable[[], object]) -> None:
    def raise_it(number: int, frame: object) -> None:
        raise kind("time is up")

    before = signal.signal(signal.SIGUSR1, raise_it)
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        act()
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def _by_command_line(place: Place) -> None:
    profile = {
        "model": "openai/tiny",
        "transport": failing(ValueError),
        "api_base": place.server.v1,
        "api_key": {"$env": "ACME"},
    }
    Path("p.yaml").write_text(json.dumps(profile))
    run(["call", "./p.yaml", PROMPT])


CALLS: dict[str, Act] = {
    f"{said}, {way}": lambda place, act=act, settings=settings, replies=replies: act(
        place.lm(*replies, **settings)
    )
    for said, replies, settings in (
        ("refused", (REFUSAL,), {}),
        ("broken", (BROKEN,), {}),
        ("nobody there", (REFUSAL,), {"api_base": "http://127.0.0.1:9/v1"}),
    )
    for way, act in WAYS.items()
} | {
    f"a bug of a transport, {way}": lambda place, act=act: act(place.lm(transport=failing(ValueError)))  # type: ignore[misc]
    for way, act in WAYS.items()
}  # fmt: skip

KINDS: dict[str, Act] = {
    "text": lambda place: place.lm(model_type="text")(PROMPT),
    "responses": lambda place: place.lm(model_type="responses", extra={"tool": {"access_token": MARK}})(PROMPT),
    "anthropic": lambda place: place.lm(model="anthropic/claude-3-opus-20240229", api_base=place.server.url)(PROMPT),
    "ollama": lambda place: place.lm(model="ollama_chat/tiny", api_base=place.server.url)(PROMPT),
    "cohere": lambda place: place.lm(model="cohere_chat/tiny", api_base=place.server.url)(PROMPT),
    "mistral": lambda place: place.lm(model="mistral/tiny")(PROMPT),
    "mistral, stream": lambda place: streamed(place.lm(model="mistral/tiny")),
    "mistral, acall": lambda place: asyncio.run(place.lm(model="mistral/tiny").acall(PROMPT)),
    "through litellm": lambda place: place.lm(transport="litellm")(PROMPT),
    "azure": lambda place: place.lm(model="azure/tiny", api_base=place.server.url, api_key=None, azure_ad_token={"$env": "ACME"}, api_version="2024-10-21")(PROMPT),
    "sagemaker": lambda place: place.lm(**AWS, model="sagemaker_chat/tiny", api_base=place.server.url)(PROMPT),
    "bedrock": lambda place: place.lm(**AWS, model="bedrock/anthropic.claude-3-haiku-20240307-v1:0", api_base=place.server.url)(PROMPT),
    "bedrock, astream": lambda place: asyncio.run(astreamed(place.lm(**AWS, model="bedrock/anthropic.claude-3-haiku-20240307-v1:0", api_base=place.server.url))),
    "vertex": lambda place: place.lm(model="vertex_ai/gemini-2.0-flash", api_base=place.server.url, vertex_project="p", vertex_location="us-central1", api_key=None, vertex_credentials={"$env": "ACME"})(PROMPT),
    "databricks": lambda place: place.lm(model="databricks/tiny", api_base=place.server.url)(PROMPT),
    "an answer of another form": lambda place: place.lm(chat('{"a": "b"}'), response_format=Invoice).ask(PROMPT),
    "no JSON": lambda place: place.lm(Reply(body=f"{{{MARK}".encode()))(PROMPT),
    "tried again": lambda place: place.lm(Reply(status=500, json={"error": MARK}), num_retries=2, retry={"initial": 0.001})(PROMPT),
    "too late": lambda place: place.lm(Reply(json=chat(), pause=2.0), timeout=0.2)(PROMPT),
    "a fallback fails, too": lambda place: place.lm(REFUSAL, fallback_on=["auth", "bad_request", "connection", "server_error"], fallbacks=[{"model": "openai/b", "api_base": "http://127.0.0.1:9/v1", **SECRETS}])(PROMPT),
    "a pool": lambda place: place.lm(REFUSAL, model=None, api_base=None, pool=[{"model": "openai/a", "api_base": place.server.v1, **SECRETS}, {"model": "openai/a", "api_base": "http://127.0.0.1:9/v1", **SECRETS}])(PROMPT),
    "a budget refuses": lambda place: place.lm(budget={"tokens": 1})(PROMPT),
    "closed": lambda place: _closed(place.lm())(PROMPT),
    "a variable that is not set": lambda place: place.lm(organization={"$env": "ABSENT"})(PROMPT),
    "a key of no encoding": lambda place: place.lm(api_key=f"{MARK}\udce4")(PROMPT),
    "a header of no encoding": lambda place: place.lm(headers={"X-Api-Key": f"{MARK}\udce4"})(PROMPT),
    "a body of no encoding": lambda place: place.lm(extra={"access_token": f"{MARK}\udce4"})(PROMPT),
    "content that is no JSON": lambda place: place.lm()(messages=[{"role": "user", "content": [{"type": "text", "text": PROMPT, "more": object()}]}]),
    "a validator with a bug": lambda place: place.lm(chat("{}"), response_format=Buggy).ask(PROMPT),
    "a callback fails under warnings as errors": lambda place: _strictly(lambda: place.lm(chat(), callbacks=[Shouting()])(PROMPT)),
    "a callback fails while a call does": lambda place: _strictly(lambda: place.lm(REFUSAL, callbacks=[Shouting()])(PROMPT)),
    "a cut answer under warnings as errors": lambda place: _strictly(lambda: place.lm(_cut())(PROMPT)),
    "context": lambda place: _in_a_block(place.lm()),
    "a profile's LM": lambda place: lmconf.load({"api_key": {"$env": "ACME"}, "model": "openai/tiny", "api_base": "http://127.0.0.1:9/v1", "num_retries": 0})["main"](PROMPT),
    "DSPy": lambda place: place.lm().as_dspy()(PROMPT),
    "DSPy, a bug": lambda place: place.lm(transport=failing(ValueError)).as_dspy()(PROMPT),
    "DSPy, acall": lambda place: asyncio.run(place.lm().as_dspy().acall(PROMPT)),
    "DSPy, copied": lambda place: place.lm().as_dspy().copy(api_key=MARK, temperature=99),
    "the command line, a bug": _by_command_line,
    "inside of another failure": lambda place: _while_handling(place.lm()),
}  # fmt: skip

PASSING: dict[str, Act] = {
    f"{kind.__name__}, {way}": lambda place, act=act, kind=kind: act(place.lm(transport=failing(kind)))
    for kind in (KeyboardInterrupt, SystemExit, asyncio.CancelledError, MemoryError)
    for way, act in WAYS.items()
    if way in ("call", "acall", "stream", "astream")
    or (kind is KeyboardInterrupt and way != "in a task")
} | {
    f"{kind.__name__}, {way}": lambda place, kind=kind, way=way: _signalled(
        kind, lambda: WAYS[way](place.lm(Reply(json=chat(), pause=1.0)))
    )
    for kind in (SoftLimit, HardLimit)
    for way in ("call", "acall", "stream", "batch")
} | {
    "cancelled": lambda place: asyncio.run(cancelled(place.lm(Reply(json=chat(), pause=1.5)))),
    "cancelled while reading": lambda place: asyncio.run(cancelled_reading(place.lm(Reply(pieces=sse(*chat_chunks("a", "b")), gap=1.0)))),
}  # fmt: skip

MAKING: dict[str, Act] = {
    "a wrong name": lambda _: LM("openai/tiny", api_key=MARK, temprature=1),  # type: ignore[call-arg]
    "no model": lambda _: LM(api_key=MARK),  # type: ignore[call-arg]
    "two models": lambda _: LM("openai/a", model="b", api_key=MARK),  # type: ignore[misc]
    "a key that is none": lambda _: LM("openai/tiny", api_key=[MARK]),  # type: ignore[arg-type]
    "what cannot be copied": lambda _: LM("openai/tiny", api_key=MARK, extra={"a": object()}),
    "a copy": lambda place: place.lm().copy(api_key=MARK, temperature=99),
    "a copy of no name": lambda place: place.lm().copy("openai/x", api_key=MARK),  # type: ignore[call-arg,arg-type]
    "a call with a key": lambda place: place.lm()(PROMPT, api_key=MARK),  # type: ignore[call-arg]
    "a call with a header": lambda place: place.lm()(PROMPT, headers={"Authorization": MARK}),
    "a call with a body": lambda place: place.lm().ask(PROMPT, extra={"secret": MARK}),
    "a call with an unmarked body": lambda place: place.lm(extra={}).ask(PROMPT, extra={"anything": MARK}),
    "a call with an unmarked header": lambda place: place.lm(headers={}).ask(PROMPT, headers={"X-Any": MARK}),
    "an acall with a key": lambda place: asyncio.run(place.lm().acall(PROMPT, api_key=MARK)),  # type: ignore[call-arg]
    "a stream with a key": lambda place: place.lm().stream(PROMPT, api_key=MARK),  # type: ignore[call-arg]
    "an astream with a key": lambda place: place.lm().astream(PROMPT, api_key=MARK),  # type: ignore[call-arg]
    "a batch with a key": lambda place: place.lm().batch([PROMPT], api_key=MARK),  # type: ignore[call-overload]
    "a batch of no width": lambda place: place.lm().batch([PROMPT], max_concurrency=0, user=MARK),
    "an abatch with a key": lambda place: asyncio.run(place.lm().abatch([PROMPT], api_key=MARK)),  # type: ignore[call-overload]
    "an item with a key": lambda place: place.lm().batch([{"prompt": PROMPT, "api_key": MARK}]),
    "inputs that break": lambda place: place.lm().batch(_breaking(), user=MARK),
    "a prompt of no text": lambda place: place.lm()({"secret": MARK}),  # type: ignore[arg-type]
    "load": lambda _: lmconf.load({"model": "openai/tiny", "api_key": MARK}),
    "load, overridden": lambda _: lmconf.load({"model": "openai/tiny"}, overrides={"api_key": MARK}),
    "load, of no type": lambda _: lmconf.load([MARK]),  # type: ignore[arg-type]
    "load, of a wrong name": lambda _: lmconf.load({"model": MARK}, api_key=MARK),  # type: ignore[call-arg]
    "load_state": lambda _: lmconf.load_state({"model": "openai/tiny", "api_key": MARK}),
    "load_state, of no type": lambda _: lmconf.load_state([MARK]),  # type: ignore[arg-type]
    "configure": lambda _: lmconf.configure(api_key=MARK),  # type: ignore[call-arg]
    "context": lambda _: lmconf.context(api_key=MARK).__enter__(),  # type: ignore[call-arg]
    "as_dspy": lambda place: place.lm().as_dspy(api_key=MARK, temperature=99),
    "dumps": lambda _: lmconf.dumps({"api_key": MARK}),  # type: ignore[arg-type]
    "make": lambda _: make_lm({"model": "openai/tiny", "api_key": MARK, "temperature": 99}),
}  # fmt: skip

PROCESSES: dict[str, Act] = {
    "launch": lambda _: LM("openai/tiny", launch_kwargs=SERVER).launch(),
    "launch, changed": lambda _: LM("openai/tiny", launch_kwargs=SERVER).launch({"env": {"HF_TOKEN": MARK}, "port": "x"}),
    "launch, of a server that tells": lambda _: LM("openai/tiny", launch_kwargs=TELLING).launch(),
    "launch, of nothing": lambda _: LM("openai/tiny").launch({"env": {"HF_TOKEN": MARK}}),
    "a call": lambda _: LM("openai/tiny", launch_kwargs=SERVER)(PROMPT),
    "an acall": lambda _: asyncio.run(LM("openai/tiny", launch_kwargs=SERVER).acall(PROMPT)),
    "kill": lambda _: LM("openai/tiny").kill({"env": {"HF_TOKEN": MARK}}, None),  # type: ignore[call-arg]
    "finetune, no data": lambda _: LM("openai/tiny", train_kwargs=TRAINING).finetune([]),
    "finetune, bad data": lambda _: LM("openai/tiny", train_kwargs=TRAINING).finetune([{"secret": MARK}]),
    "finetune, with kwargs": lambda _: LM("openai/tiny").finetune([], None, {"env": {"HF_TOKEN": MARK}, "use": "x"}),
    "finetune, failed": lambda _: LM("openai/tiny", train_kwargs=TRAINING).finetune(ROWS).result(60),
    "finetune, by the provider": lambda place: place.lm(model="openai/gpt-4o-mini", train_kwargs={"poll": 0.05}).finetune(ROWS).result(60),
}  # fmt: skip


class Invoice(pydantic.BaseModel):
    total: int


class Buggy(pydantic.BaseModel):
    a: str = "a"

    @pydantic.model_validator(mode="before")
    @classmethod
    def broken(cls, value: Any) -> Any:
        raise KeyError("a bug")


class Shouting:
    """A callback that fails at each event, and holds what it was told."""

    inline = True

    def on_start(self, event: Any) -> None:
        told = dict(event.request)
        raise ValueError(f"{len(told)} parts")

    on_end = on_error = on_start


def _cut() -> dict[str, Any]:
    answer = chat("cut")
    answer["choices"][0]["finish_reason"] = "length"
    return answer


def _closed(lm: LM) -> LM:
    lm.close()
    return lm


def _strictly(act: Callable[[], object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        act()
    raise AssertionError("nothing was raised")


def _in_a_block(lm: LM) -> None:
    with lmconf.context(lm=lm):
        lmconf.settings.lm(PROMPT)


def _while_handling(lm: LM) -> None:
    try:
        lm.copy(temperature=99, api_key=MARK)
    except lmconf.ProfileError:
        lm(PROMPT)


def _breaking() -> Iterator[str]:
    yield PROMPT
    raise OSError("no more inputs")


CASES = {
    f"{group}: {name}": act
    for group, acts in (
        ("calls", CALLS),
        ("kinds", KINDS),
        ("passing through", PASSING),
        ("making", MAKING),
        ("processes", PROCESSES),
    )
    for name, act in acts.items()
}


def raised_by(act: Act, place: Place) -> BaseException:
    """What `act` raises, from the first frame on that is no test's."""
    try:
        act(place)
    except BaseException as error:  # noqa: BLE001 - interrupts among them
        assert not isinstance(error, AssertionError), error
        return without_callers(error)
    raise AssertionError("nothing was raised")


def shown_by(error: BaseException) -> dict[str, list[str]]:
    """Which of the tools show a part of the secret, and what they show around it."""
    shown = {}
    for name, render in RENDERERS.items():
        text = render(error)
        found = [text[max(at - 200, 0) : at + 60] for part in PARTS if (at := text.find(part)) >= 0]
        if found:
            shown[name] = found
    return shown


@pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning", "ignore::lmconf.ProfileWarning")
@pytest.mark.parametrize("case", CASES)
def test_no_tool_finds_a_secret_in_an_error(case: str, place: Place) -> None:
    error = raised_by(CASES[case], place)
    assert held_in_locals(error, PARTS) == []
    for one in errors_of(error):
        assert shown_by(without_callers(one)) == {}


@pytest.mark.parametrize("tool", RENDERERS)
def test_the_tools_show_what_frames_hold(tool: str) -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        _work_on(MARK)
    assert MARK in RENDERERS[tool](raised.value)


class Reporting:
    """A callback that reports each failure at once, in the middle of the call."""

    inline = True

    def __init__(self) -> None:
        self.shown: list[dict[str, list[str]]] = []

    def on_error(self, event: Any) -> None:
        self.shown += [shown_by(one) for one in errors_of(event.error)]


@pytest.mark.parametrize("way", ["call", "acall", "stream", "achunks", "abatch"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"api_base": "http://127.0.0.1:9/v1"},
        {"transport": "failing"},
        {"fallbacks": [{"model": "openai/b", "api_base": "http://127.0.0.1:9/v1", **SECRETS}]},
    ],
    ids=["refused", "nobody there", "a bug", "a fallback"],
)
def test_no_tool_finds_a_secret_in_what_callbacks_are_told(
    way: str, settings: dict[str, Any], place: Place
) -> None:
    if "transport" in settings:
        settings = {"transport": failing(ValueError)}
    reporting = Reporting()
    lm = place.lm(BROKEN if "stream" in way else REFUSAL, callbacks=[reporting], **settings)
    raised_by(lambda _: WAYS[way](lm), place)
    assert reporting.shown
    assert not any(reporting.shown)
