"""A transport of one's own: how it is named, what it may return, and what it is given."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmconf
from lmconf import callbacks, transports
from lmconf.errors import AuthenticationFailed, BadResponse, RateLimited, UsageError
from lmconf.runtime.assembly import Assembly
from lmconf.transports import REGISTRY, Connection, Json, Request, Transport
from lmconf.transports.custom import chunks_of, complete_transport, make_response
from lmconf.transports.specs import TransportSpec

REQUEST = Request(route="chat", provider="acme", model="m", connection=Connection(base=None))
TEXT = Request(route="text", provider="acme", model="m", connection=Connection(base=None))


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    before = dict(REGISTRY._registered)
    yield
    REGISTRY._registered.clear()
    REGISTRY._registered.update(before)


class Saying:
    """A transport that returns what it is made with."""

    def __init__(self, said: object = "Hello.") -> None:
        self.said = said

    def complete(self, request: Request) -> object:
        return self.said


def lm(said: object = "Hello.", **settings: Any) -> lmconf.LM:
    """An LM whose transport returns `said`."""
    lmconf.unregister_transport("saying")
    lmconf.register_transport("saying", lambda: Saying(said))
    fast = {"retry": {"initial": 0}, "cache": False, "transport": "saying"}
    return lmconf.LM("acme/m", **{**fast, **settings})


# What it may return


@pytest.mark.parametrize(
    ("said", "outputs", "reasons"),
    [
        ("Hello.", ["Hello."], ["stop"]),
        (["One", "two"], ["One", "two"], ["stop", "stop"]),
        (("One",), ["One"], ["stop"]),
        ({"content": "Hello."}, ["Hello."], ["stop"]),
        ({"choices": [{"message": {"content": "Hello."}}]}, ["Hello."], ["stop"]),
        ({"choices": [{"text": "Hi", "finish_reason": "eos"}]}, ["Hi"], ["stop"]),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
            [{"text": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}],
            ["tool_calls"],
        ),
    ],
)
def test_texts_messages_and_responses_are_answers(
    said: object, outputs: list[object], reasons: list[str]
) -> None:
    asked = lm(said)
    assert asked("hi") == outputs
    response = asked.history[-1]["response"]
    assert [choice["finish_reason"] for choice in response["choices"]] == reasons
    assert [choice["index"] for choice in response["choices"]] == list(range(len(reasons)))
    assert response["model"] == "m"
    assert asked.history[-1]["usage"] == {}


def test_an_object_of_a_client_library_is_an_answer() -> None:
    class Completion:
        def model_dump(self, warnings: bool) -> dict[str, Any]:
            message = {"role": "assistant", "content": "Hello.", "refusal": None}
            return {"id": "x", "choices": [{"message": message}]}

    answer = lm(Completion()).ask("hi")
    assert (answer.text, answer.response["id"]) == ("Hello.", "x")


def test_a_text_model_gets_the_shape_of_completions() -> None:
    assert make_response("Hi", TEXT, "t") == {
        "object": "text_completion",
        "model": "m",
        "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}],
    }


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "`complete` returned None"),
        ({}, "a mapping without `choices`"),
        ({"usage": {}}, "a mapping without `choices`"),
        ([], "an empty list"),
        (["a", 1], "a list that holds more than texts"),
        (7, "`complete` returned int"),
        ({"content": [{"type": "text", "text": "Anthropic's shape"}]}, "a choice's text is a list"),
    ],
)
def test_what_is_no_answer_is_told_with_what_must_be_returned(said: object, told: str) -> None:
    """No attempt would mend it, so none is made."""
    with pytest.raises(BadResponse) as raised:
        lm(said)("hi")
    assert told in str(raised.value)
    assert "return a text, a list of texts, a message" in str(raised.value)
    assert raised.value.attempts == 1


def test_an_empty_answer_of_a_server_may_pass_and_is_tried_again() -> None:
    with pytest.raises(BadResponse) as raised:
        lm({"choices": []}, num_retries=2)("hi")
    assert raised.value.attempts == 3


_TEXT = st.text(max_size=8)
_CALLS = st.lists(
    st.builds(
        lambda name, arguments: {
            "id": name,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        },
        st.text(min_size=1, max_size=4),
        _TEXT,
    ),
    min_size=1,
    max_size=2,
)
_MESSAGES = st.fixed_dictionaries(
    {"content": _TEXT},
    optional={"reasoning_content": _TEXT, "refusal": _TEXT, "tool_calls": _CALLS},
)


@given(
    st.lists(_MESSAGES, min_size=1, max_size=3),
    st.none() | st.just({"total_tokens": 3}),
    st.integers(1, 3),
)
def test_the_chunks_of_a_response_are_that_response(
    messages: list[Json], usage: Json | None, size: int
) -> None:
    said = {"id": "x", "usage": usage, "choices": [{"message": message} for message in messages]}
    response = make_response(said, REQUEST, "t")
    assembly = Assembly()
    for chunk in chunks_of(response, lambda text: [text[i : i + size] for i in range(0, 9, size)]):
        assembly.add(chunk)
    assert assembly.response() == response


# What it need not have


def test_a_stream_of_texts_needs_no_end() -> None:
    class Speaking(Saying):
        def stream(self, request: Request) -> Iterator[str]:
            yield from ("Hel", "lo", ".")

    transport = complete_transport(Speaking(), "t")
    for request in (REQUEST, TEXT):
        chunks = list(transport.stream(request))
        assert [chunk["choices"][0].get("finish_reason") for chunk in chunks] == [
            *(None, None, None),
            "stop",
        ]
        assembly = Assembly()
        for chunk in chunks:
            assembly.add(chunk)
        assert assembly.response() == make_response("Hello.", request, "t")


@pytest.mark.parametrize("told", [None, "Hello.", {"choices": []}])
def test_what_stream_returns_must_be_read_piece_by_piece(told: object) -> None:
    class Wrong(Saying):
        def stream(self, request: Request) -> object:
            return told

    transport = complete_transport(Wrong(), "t")
    with pytest.raises(BadResponse, match="`stream` returned"):
        list(transport.stream(REQUEST))

    async def read() -> list[Json]:
        return [chunk async for chunk in transport.astream(REQUEST)]

    with pytest.raises(BadResponse, match="`stream` returned"):
        asyncio.run(read())


@pytest.mark.parametrize("last", [{"choices": [{"delta": {"content": "lo"}}]}, None, 7])
def test_a_stream_that_is_cut_or_yields_what_is_no_chunk_is_an_error(last: object) -> None:
    class Cut(Saying):
        def stream(self, request: Request) -> Iterator[object]:
            if last is not None:
                yield last

    transport = complete_transport(Cut(), "t")
    with pytest.raises(BadResponse, match="truncated" if last != 7 else "`stream` yielded int"):
        list(transport.stream(REQUEST))

    async def gathered() -> list[Json]:
        return [chunk async for chunk in transport.astream(REQUEST)]

    with pytest.raises(BadResponse):
        asyncio.run(gathered())


def test_a_cut_stream_tells_what_had_come() -> None:
    class Cut(Saying):
        def stream(self, request: Request) -> Iterator[Json]:
            yield {"choices": [{"delta": {"content": "Hel"}}]}

    lmconf.register_transport("cut", Cut)
    with (
        pytest.raises(BadResponse) as raised,
        lmconf.LM("a/b", transport="cut").stream("x") as all_,
    ):
        list(all_)
    assert raised.value.partial == "Hel"


def test_async_methods_alone_are_enough_for_async_calls() -> None:
    class Asynchronous:
        async def acomplete(self, request: Request) -> str:
            return "Hello."

        async def astream(self, request: Request) -> AsyncIterator[str]:
            async def told() -> AsyncIterator[str]:
                yield "Hi"

            return told()

    lmconf.register_transport("asynchronous", Asynchronous)
    asked = lmconf.LM("acme/m", transport="asynchronous", cache=False)

    async def both() -> list[object]:
        async with asked.astream("hi") as pieces:
            return [await asked.acall("hi"), [piece async for piece in pieces]]

    assert asyncio.run(both()) == [["Hello."], ["Hi"]]
    with pytest.raises(UsageError, match="async methods alone: use `acall`"):
        asked("hi")
    with pytest.raises(UsageError, match="or give it `complete`"):
        list(asked.stream("hi"))


def test_blocking_calls_run_at_once_in_threads_that_see_the_tasks_context() -> None:
    name: contextvars.ContextVar[str] = contextvars.ContextVar("name")
    meeting = threading.Barrier(40, timeout=30)

    class Meeting:
        def complete(self, request: Request) -> str:
            meeting.wait()  # far more than the loop's executor has threads
            return name.get()

    transport = complete_transport(Meeting(), "t")

    async def ask(who: str) -> str:
        name.set(who)
        return str((await transport.acomplete(REQUEST))["choices"][0]["message"]["content"])

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(ask(str(number)) for number in range(40)))

    assert asyncio.run(all_of_them()) == [str(number) for number in range(40)]


def test_a_stop_iteration_in_a_thread_does_not_hang_the_call() -> None:
    class Stopping:
        def complete(self, request: Request) -> str:
            raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(complete_transport(Stopping(), "t").acomplete(REQUEST), 10))


class Endless(Saying):
    """Streams without end, and notes how far it got and that it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.yielded = 0
        self.closed = threading.Event()

    def stream(self, request: Request) -> Iterator[str]:
        try:
            while True:
                self.yielded += 1
                yield "x"
        finally:
            self.closed.set()


def test_a_stream_is_read_a_few_pieces_ahead_and_ends_with_its_reader() -> None:
    own = Endless()
    transport = complete_transport(own, "t")

    async def leave() -> None:
        chunks = transport.astream(REQUEST)
        await anext(chunks)
        await asyncio.sleep(0.2)
        assert own.yielded < 40
        await chunks.aclose()  # type: ignore[attr-defined]

    asyncio.run(leave())
    assert own.closed.wait(5)


def test_a_cancelled_reader_does_not_wait_for_the_piece_that_is_due() -> None:
    due = threading.Event()
    ended = threading.Event()

    class Slow(Saying):
        def stream(self, request: Request) -> Iterator[str]:
            yield "x"
            due.wait(30)
            yield "y"
            ended.set()  # never reached: nobody reads on

    transport = complete_transport(Slow(), "t")

    async def read() -> None:
        async for _ in transport.astream(REQUEST):
            pass

    async def leave() -> float:
        start = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.1)
        return time.monotonic() - start

    try:
        assert asyncio.run(leave()) < 5
    finally:
        due.set()
    for thread in threading.enumerate():
        if thread.name == "lmconf-stream":
            thread.join(5)
            assert not thread.is_alive()
    assert not ended.is_set()


def test_its_close_is_called_once_and_its_costs_are_counted() -> None:
    class Closing(Saying):
        closed = 0

        def close(self) -> None:
            self.closed += 1

        def cost(self, provider: str, model: str, base_model: str | None, response: Json) -> float:
            return 0.5 if (provider, model) == ("acme", "m") else 0.0

    own = Closing({"choices": [{"message": {"content": "x"}}], "usage": {"total_tokens": 1}})
    transport = complete_transport(own, "t")
    transport.close()
    transport.close()
    assert own.closed == 1
    lmconf.register_transport("closing", lambda: own)
    assert lmconf.LM("acme/m", transport="closing").ask("hi").cost == 0.5


def test_it_is_closed_by_aclose_where_a_loop_runs() -> None:
    told: list[str] = []

    class Sync(Saying):
        def close(self) -> None:
            told.append(f"close in {threading.current_thread().name}")

    class Async(Sync):
        async def aclose(self) -> None:
            told.append("aclose")

    lmconf.register_transport("sync", Sync)
    lmconf.register_transport("async", Async)

    async def use(name: str) -> None:
        async with lmconf.LM("acme/m", transport=name, cache=False) as asked:
            copy = asked.copy(temperature=0.5)
            assert await copy.acall("x") == ["Hello."]
            await copy.aclose()

    for name in ("sync", "async"):
        asyncio.run(use(name))
    with lmconf.LM("acme/m", transport="async", cache=False) as asked:
        asked("x")
    assert [each.partition(" in ")[0] for each in told] == ["close", "aclose", "close"]


# Its exceptions


def test_a_call_error_is_tried_again_and_any_other_exception_passes_through() -> None:
    class Failing:
        def __init__(self, error: Exception) -> None:
            self.error = error
            self.sent = 0

        def complete(self, request: Request) -> str:
            self.sent += 1
            raise self.error

    for error, sent in ((RateLimited("slow down"), 3), (ZeroDivisionError("mine"), 1)):
        own = Failing(error)
        lmconf.unregister_transport("failing")
        lmconf.register_transport("failing", lambda own=own: own)
        asked = lmconf.LM("acme/m", transport="failing", num_retries=2, retry={"initial": 0})
        with pytest.raises(type(error)) as raised:
            asked("hi")
        assert raised.value is error
        assert own.sent == sent


# How it is named


def test_a_decorator_registers_and_changes_nothing() -> None:
    @lmconf.register_transport("echo")
    class Echo:
        def complete(self, request: Request) -> str:
            return str(request.messages[-1]["content"])

    assert isinstance(Echo(), Echo)
    assert "echo" in transports.REGISTRY.names()
    assert lmconf.LM("any/thing", transport="echo", cache=False)("Say this.") == ["Say this."]


def test_a_cell_that_runs_again_replaces_what_it_registered() -> None:
    def cell(said: str) -> None:
        @lmconf.register_transport("cell")
        class InCell:
            def complete(self, request: Request) -> str:
                return said

    cell("before")
    cell("after")
    assert lmconf.LM("any/thing", transport="cell", cache=False)("x") == ["after"]
    with pytest.raises(UsageError, match="already registered as `cell`"):
        lmconf.register_transport("cell", Saying)


class AsyncComplete:
    async def complete(self, request: Request) -> str:
        return ""


class Nothing:
    def compelte(self, request: Request) -> str:
        return ""


@pytest.mark.parametrize(
    ("name", "factory", "told"),
    [
        ("litellm", Saying, "comes with lmconf"),
        ("a b", Saying, "letters, digits"),
        ("a:b", Saying, "letters, digits"),
        ("", Saying, "letters, digits"),
        ("mine", Saying(), "a class or a function"),
        ("mine", Nothing, "Nothing has neither `complete` nor `acomplete`"),
        ("mine", AsyncComplete, r"AsyncComplete.complete is async; call it `acomplete`"),
    ],
)
def test_what_cannot_be_registered_is_told_at_once(name: str, factory: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        lmconf.register_transport(name, factory)


def test_what_a_function_makes_is_checked_when_it_is_made() -> None:
    def made() -> Any:
        return object()

    lmconf.register_transport("made", made)
    with pytest.raises(UsageError, match="object has neither `complete`"):
        lmconf.LM("any/thing", transport="made")("x")


def test_an_unknown_transport_is_told_what_was_meant() -> None:
    with pytest.raises(UsageError, match="did you mean `litellm`"):
        transports.make(TransportSpec(use="lite_llm"))
    with pytest.raises(lmconf.ProfileError, match="did you mean `litellm`"):
        lmconf.load({"model": "openai/gpt-4o", "transport": "lite_llm"})


def test_arguments_that_do_not_fit_are_told_without_their_values() -> None:
    lmconf.register_transport("saying", Saying)
    asked = lmconf.LM("a/b", transport={"use": "saying", "args": {"sad": "private"}})
    with pytest.raises(UsageError, match="do not fit: got an unexpected keyword") as raised:
        asked("x")
    assert "private" not in str(raised.value)


# What an installed package brings


def install(folder: Path, entries: str, code: str) -> None:
    (folder / "acme_lm.py").write_text(code)
    about = folder / "acme_lm-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-lm\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[lmconf.transports]\n{entries}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda entries, code: install(tmp_path, entries, code)
    sys.modules.pop("acme_lm", None)


SAYING = "class Saying:\n    def complete(self, request):\n        return 'Installed.'\n"


def test_an_installed_transport_is_named_without_importing_it(
    site: Callable[[str, str], None],
) -> None:
    site("acme = acme_lm:Saying", SAYING)
    asked = lmconf.load({"model": "any/thing", "transport": "acme", "cache": False}).lm
    assert "acme" in transports.REGISTRY.names()
    assert "acme_lm" not in sys.modules
    assert asked("x") == ["Installed."]
    lmconf.register_transport("acme", Saying)
    assert lmconf.LM("any/thing", transport="acme", cache=False)("x") == ["Hello."]


def test_entry_points_are_not_looked_up_for_a_name_that_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(**criteria: object) -> None:
        raise AssertionError("entry points were listed")

    monkeypatch.setattr("importlib.metadata.entry_points", never)
    asked = lm()
    lmconf.load({"model": "any/thing", "transport": "saying"})
    lmconf.load({"model": "openai/gpt-4o"})
    assert asked("x") == ["Hello."]


@pytest.mark.parametrize(
    ("entries", "code", "told"),
    [
        ("acme = acme_lm:Gone", SAYING, "cannot be imported from `acme_lm:Gone`: AttributeError"),
        ("acme = acme_lm:Saying", "import acme_none", "ModuleNotFoundError"),
        ("acme = acme_lm:Saying", "Saying = 1", "neither a class nor a function"),
    ],
)
def test_an_installed_transport_that_is_broken_is_told(
    site: Callable[[str, str], None], entries: str, code: str, told: str
) -> None:
    site(entries, code)
    with pytest.raises(UsageError, match=told):
        lmconf.LM("any/thing", transport="acme", cache=False)("x")


def test_an_import_path_is_a_transport_where_it_is_allowed(
    site: Callable[[str, str], None],
) -> None:
    site("", SAYING)
    document = {"model": "any/thing", "transport": "acme_lm:Saying", "cache": False}
    with pytest.raises(lmconf.ProfileError, match="importing it is not allowed"):
        lmconf.load(document)
    profile = lmconf.load(document, allow_imports=["acme_lm"])
    assert "acme_lm" not in sys.modules
    assert profile.lm("x") == ["Installed."]
    with pytest.raises(lmconf.ProfileError, match="importing it is not allowed"):
        transports.make(TransportSpec(use="acme_lm:Saying"))


# What it is given


def test_references_in_arguments_are_resolved_when_it_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[dict[str, object]] = []

    class Keyed(Saying):
        def __init__(self, **arguments: object) -> None:
            super().__init__()
            given.append(arguments)

    lmconf.register_transport("keyed", Keyed)
    (tmp_path / "key").write_text("from a file\n")
    arguments = {
        "api_key": {"$env": "ACME_KEY", "format": "Bearer {}"},
        "sizes": [
            {"$env": "ACME_SIZE", "type": "int"},
            {"$env": "ACME_ON", "type": "bool", "default": True},
            {"$env": "ACME_PART", "type": "float", "default": 0.5},
        ],
        "inner": {"token": {"$file": str(tmp_path / "key")}, "list": [1, {"$public": "open"}]},
    }
    profile = {"model": "a/b", "transport": {"use": "keyed", "args": arguments}, "cache": False}
    asked = lmconf.load(profile).lm
    with pytest.raises(AuthenticationFailed, match=r"needed for `transport\.args\.api_key`"):
        asked("x")
    monkeypatch.setenv("ACME_KEY", "sk-acme-123456")
    monkeypatch.setenv("ACME_SIZE", "many")
    with pytest.raises(AuthenticationFailed, match="ACME_SIZE is not of the type `int`"):
        asked("x")
    monkeypatch.setenv("ACME_SIZE", " 7")
    assert asked("x") == ["Hello."]
    assert given == [
        {
            "api_key": "Bearer sk-acme-123456",
            "inner": {"token": "from a file", "list": [1, "open"]},
            "sizes": [7, True, 0.5],
        }
    ]
    assert "sk-acme" not in repr(asked._parts().transport)
    assert asked.dump_state()["transport"]["args"]["api_key"] == arguments["api_key"]


def test_a_key_given_in_code_reaches_the_transport_and_no_state() -> None:
    lmconf.register_transport("saying", Saying)
    asked = lmconf.LM("a/b", transport={"use": "saying", "args": {"said": "x"}}, cache=False)
    keyed = lmconf.LM(
        "a/b", transport={"use": "keyed2", "args": {"api_key": "sk-acme-123456"}}, cache=False
    )

    @lmconf.register_transport("keyed2")
    class Keyed:
        def __init__(self, api_key: str) -> None:
            self.api_key = api_key

        def complete(self, request: Request) -> str:
            return str(len(self.api_key))

    assert (asked("x"), keyed("x")) == (["x"], ["14"])
    assert "sk-acme" not in str(keyed.dump_state())


def test_no_frame_of_lmconf_keeps_the_arguments_of_a_transport_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-acme-123456")

    def failing(api_key: str) -> Transport:
        del api_key
        raise ValueError("no such region")

    def narrow() -> Transport:
        raise AssertionError

    for factory, kind in ((failing, ValueError), (narrow, UsageError)):
        lmconf.unregister_transport("failing")
        lmconf.register_transport("failing", factory)
        arguments = {"api_key": lmconf.Env("ACME_KEY")}
        asked = lmconf.LM("a/b", transport={"use": "failing", "args": arguments})
        with pytest.raises(kind) as raised:
            asked("x")
        frames = traceback.TracebackException(
            type(raised.value), raised.value, raised.tb, capture_locals=True
        )
        assert "sk-acme-123456" not in "".join(frames.format())


def test_references_in_a_callbacks_arguments_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-acme-123456")
    given: list[str] = []

    class Counting:
        def __init__(self, api_key: str) -> None:
            given.append(api_key)

        def on_end(self, event: object) -> None:
            given.append("end")

    monkeypatch.setitem(callbacks.REGISTRY._registered, "counting-keys", Counting)
    callback = {"use": "counting-keys", "args": {"api_key": {"$env": "ACME_KEY"}}}
    assert lm(callbacks=[callback])("x") == ["Hello."]
    assert given == ["sk-acme-123456", "end"]


# What stays around it


def test_retries_answers_that_are_kept_and_streams_are_as_with_any_transport() -> None:
    class Counting(Saying):
        sent = 0

        def complete(self, request: Request) -> str:
            type(self).sent += 1
            if self.sent == 1:
                raise RateLimited("slow down")
            return f"Answer {self.sent}."

    lmconf.register_transport("counting", Counting)
    asked = lmconf.LM("acme/m", transport="counting", retry={"initial": 0})
    answer = asked.ask("hi")
    assert (answer.text, answer.attempts) == ("Answer 2.", 2)
    assert asked("hi") == ["Answer 2."]
    with asked.stream("other") as stream:
        assert list(stream) == ["Answer 3."]
    # The same question by another transport is another question.
    lmconf.register_transport("saying", Saying)
    assert asked.copy(transport="saying")("hi") == ["Hello."]
