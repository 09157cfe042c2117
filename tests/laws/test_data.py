"""Data is data: what a call, a batch's input or an LM in code holds arrives as it was given.

Nothing in it is looked for: no reference, no template, no operator. References in code are objects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lmconf
from lmconf.cli import run
from lmconf.document.dollar_words import OPTIONS
from lmconf.secrets.secret_names import is_secret_name
from tests.loopback import Loopback, Received, Reply, chat, chat_chunks, serving, sse

MARKER = "marker-4711-that-no-server-may-see"
VARIABLE = "LAW_OF_DATA"
Settings = dict[str, Any]

WORDS = st.sampled_from([*OPTIONS, "$ref", "$defs", "$evn", "$", "{{ vars.x }}", "<<", "default"])
NAMES = st.one_of(
    WORDS, st.sampled_from(["a", "type", "format", "{%", "{{"]), st.text("abc.- é", max_size=3)
).filter(lambda name: not is_secret_name(name))
ATOMS = st.one_of(
    st.sampled_from(
        [VARIABLE, "{{ 7 * 7 }}", "{{", "{# #}", "${LAW_OF_DATA}", "~", "./x", "\u2028"]
    ),
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(-1e9, 1e9),
    st.text(max_size=4).filter(lambda text: "\x00" not in text),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the marker, which data will name."""
    path = tmp_path_factory.mktemp("data") / "marker"
    path.write_text(MARKER)
    return path


@pytest.fixture(scope="module", autouse=True)
def marked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, MARKER)
        yield


def answer(received: Received) -> Reply:
    if received.json.get("stream"):
        headers = {"content-type": "text/event-stream"}
        return Reply(pieces=sse(*chat_chunks("{", "}")), headers=headers)
    return Reply(json=chat("{}"))


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as running:
        running.script = answer
        yield running


def values(file: Path) -> st.SearchStrategy[Any]:
    """JSON values in which dollar words and braces stand at any depth."""
    references = st.sampled_from(
        [{"$env": VARIABLE}, {"$file": str(file)}, {"$env": VARIABLE, "format": "a {}"}]
    )
    return st.recursive(
        ATOMS | references,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)
        ),
        max_leaves=12,
    )


def requests(file: Path) -> st.SearchStrategy[Settings]:
    """The settings of a call that hold data, and text that looks like more."""
    inner = values(file)
    # An empty block says nothing, and nothing is sent of it.
    block = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    tool = st.builds(
        lambda said, schema: {
            "type": "function",
            "function": {"name": "f", "description": said, "parameters": schema},
        },
        inner,
        block,
    )
    return st.fixed_dictionaries(
        {},
        optional={
            "tools": st.lists(tool, min_size=1, max_size=1),
            "tool_choice": st.builds(
                lambda more: {"type": "function", "function": {"name": "f"}, "x": more}, inner
            ),
            "response_format": block.map(lambda more: {"type": "json_object", "x": more}),
            "metadata": block,
            "thinking": block,
            "extra": block,
            "logit_bias": st.dictionaries(NAMES, st.integers(-100, 100), min_size=1, max_size=2),
            "stop": st.lists(st.sampled_from(["{{ 7 * 7 }}", "$env"]), min_size=1, max_size=2),
            "user": st.sampled_from(["{{ x }}", f"$env:{VARIABLE}"]),
        },
    )


def messages(value: Any) -> list[dict[str, Any]]:
    text = json.dumps(value)
    return [
        {"role": "system", "content": "{{ 7 * 7 }}"},
        {"role": "user", "content": [{"type": "text", "text": text, "cache_control": value}]},
    ]


def assert_arrived(received: Received, said: Settings, talk: list[dict[str, Any]]) -> None:
    assert MARKER not in received.text
    body = received.json
    wanted = {**said, **said.get("extra", {})}
    wanted.pop("extra", None)
    assert {name: body.get(name) for name in wanted} == wanted
    assert body["messages"] == talk


def read(stream: Any) -> None:
    with stream:
        list(stream)


async def aread(stream: Any) -> None:
    async with stream:
        async for _ in stream:
            pass


def ask_by_command(base: str, folder: Path, talk: list[dict[str, Any]], said: Settings) -> None:
    profile = {"model": "openai/m", "api_base": base, "api_key": "", "cache": False}
    (folder / "profile.json").write_text(json.dumps(profile))
    (folder / "in.jsonl").write_text(json.dumps({"messages": talk, **said}) + "\n")
    command = ["batch", str(folder / "profile.json"), str(folder / "in.jsonl")]
    assert run([*command, "-o", str(folder / "out.jsonl"), "--force"]) == 0


FORMS: dict[str, Callable[[lmconf.LM, list[dict[str, Any]], Settings], object]] = {
    "call": lambda lm, talk, said: lm(messages=talk, **said),
    "ask": lambda lm, talk, said: lm.ask(messages=talk, **said),
    "stream": lambda lm, talk, said: read(lm.stream(messages=talk, **said)),
    "acall": lambda lm, talk, said: asyncio.run(lm.acall(messages=talk, **said)),
    "aask": lambda lm, talk, said: asyncio.run(lm.aask(messages=talk, **said)),
    "astream": lambda lm, talk, said: asyncio.run(aread(lm.astream(messages=talk, **said))),
    "batch": lambda lm, talk, said: lm.batch([talk], **said),
    "an input of a batch": lambda lm, talk, said: lm.batch([{"messages": talk, **said}]),
    "abatch": lambda lm, talk, said: asyncio.run(lm.abatch([{"messages": talk, **said}])),
    "copy": lambda lm, talk, said: lm.copy(**said)(messages=talk),
    "an LM in code": lambda lm, talk, said: lmconf.LM(
        "openai/m", api_base=lm.api_base, api_key="", cache=False, **said
    )(messages=talk),
    "a fallback": lambda lm, talk, said: lm.copy(
        api_base="http://127.0.0.1:9/v1", num_retries=0,
        fallbacks=[
            {"model": "openai/m", "api_base": lm.api_base, "api_key": "", "cache": False, **said}
        ],
    )(messages=talk),
    "a state": lambda lm, talk, said: lmconf.LM(**lm.copy(**said).dump_state())(messages=talk),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_given_arrives(
    form: str, server: Loopback, file: Path, data: st.DataObject
) -> None:
    said = data.draw(requests(file))
    if "tool_choice" in said and "tools" not in said:
        said.pop("tool_choice")
    talk = messages(data.draw(values(file)))
    profile = {"model": "openai/m", "api_base": server.v1, "api_key": "", "cache": False}
    with lmconf.load(profile).lm as lm:
        server.received.clear()
        FORMS[form](lm, talk, said)
    assert_arrived(server.received[-1], said, talk)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_row_of_a_file_arrives(
    server: Loopback, file: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    said = data.draw(requests(file))
    if "tools" not in said:
        said.pop("tool_choice", None)
    talk = messages(data.draw(values(file)))
    server.received.clear()
    ask_by_command(server.v1, tmp_path_factory.mktemp("row"), talk, said)
    assert_arrived(server.received[-1], said, talk)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_an_lm_that_holds_data_comes_back(file: Path, data: st.DataObject) -> None:
    """Law 1: its state spells the data so that no reader looks for anything in it."""
    said = data.draw(requests(file))
    lm = lmconf.LM("openai/m", api_key="", **said)
    again = lm.copy(seed=1).copy(seed=None)
    for state in (lm.dump_state(), again.dump_state()):
        assert lmconf.load_state(state).spec == lm.spec
        assert lmconf.LM(**state) == lm
        assert lmconf.load_state(state).dump_state() == state
    for name, value in said.items():
        assert json.loads(json.dumps(getattr(lm.spec, name))) == value


TOOL = {"type": "function", "function": {"name": "f", "description": {"$env": VARIABLE}}}


def test_an_lm_of_untrusted_origin_sends_what_a_call_gives_it(server: Loopback) -> None:
    lm = lmconf.load({"model": "openai/m"}, untrusted=True).lm
    with lm.copy(api_base=server.v1, api_key="", cache=False) as reached:
        reached("hi", tools=[TOOL], metadata={"$env": VARIABLE}, extra={"x": {"$env": VARIABLE}})
    received = server.received[-1]
    assert MARKER not in received.text
    assert received.json["tools"] == [TOOL]
    assert received.json["metadata"] == received.json["x"] == {"$env": VARIABLE}


FIELDS: dict[str, Settings] = {
    "a header": {"headers": {"X-A": {"$env": VARIABLE}}},
    "a secret header": {"headers": {"Authorization": {"$env": VARIABLE}}},
    "a secret of the body": {"extra": {"auth_token": {"$env": VARIABLE}}},
    "a file": {"headers": {"X-A": {"$file": "/etc/passwd"}}},
    "text": {"user": {"$env": VARIABLE}},
    "an item": {"stop": [{"$env": VARIABLE}]},
    "a list": {"stop": {"$append": ["x"]}},
    "a number": {"seed": {"$env": VARIABLE, "type": "int"}},
    "a block": {"retry": {"$value": {"max": 5}}},
    "a word within a block": {"timeout": {"total": {"$env": VARIABLE}}},
    "a word mistyped": {"headers": {"X-A": {"$evn": VARIABLE}}},
    "all of a field": {"temperature": {"$unset": True}},
    "a store": {"cache": {"store": {"backend": "disk", "path": "elsewhere"}}},
    "the path of a store by name": {"cache": {"store": "team"}},
}


@pytest.mark.parametrize("said", FIELDS.values(), ids=FIELDS)
def test_where_no_mapping_is_data_a_call_refuses_it(
    said: Settings, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    lm = lmconf.LM("openai/m", api_base=server.v1, api_key="", cache=False)
    server.received.clear()
    told = r"lmconf\.(Env|File)\(…\)|dollar words|unset in one call|belongs to the LM"
    asks: list[Callable[..., object]] = [
        partial(lm, "hi"), partial(lm.ask, "hi"), partial(lm.stream, "hi"), partial(lm.batch, ["hi"])
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises((lmconf.ProfileError, lmconf.UsageError), match=told):
            ask(**said)
    with pytest.raises(lmconf.UsageError, match=r"inputs\[0\]: "):
        lm.batch([{"prompt": "hi", **said}])
    assert not server.received
    assert [*folder.iterdir()] == []


def test_a_reference_in_code_is_an_object(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("from a file\n")
    lm = lmconf.LM("openai/m", api_base=server.v1, api_key="", cache=False)
    there: Settings = {
        "headers": {"X-A": lmconf.Env(VARIABLE), "Authorization": lmconf.Env(VARIABLE)},
        "extra": {"x": [lmconf.Env(VARIABLE)], "auth_token": lmconf.File(str(tmp_path / "note"))},
        "metadata": {"note": lmconf.File(str(tmp_path / "note"), format="({})")},
    }
    asks: list[Callable[[], object]] = [
        lambda: lm("hi", **there), lambda: lm.copy(**there)("hi"), lambda: lm.batch(["hi"], **there)
    ]  # fmt: skip
    for ask in asks:
        ask()
        received = server.received[-1]
        assert received.header("x-a") == received.header("authorization") == MARKER
        assert received.json["x"] == [MARKER]
        assert received.json["auth_token"] == "from a file"
        assert received.json["metadata"] == {"note": "(from a file)"}


def test_data_that_spells_a_reference_is_not_that_reference_in_keys(
    server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path))
    server.received.clear()
    lm = lmconf.LM("openai/m", api_base=server.v1, api_key="", endpoint="keys")
    extras: list[Settings] = [
        {"x": {"$env": VARIABLE}},
        {"x": lmconf.Env(VARIABLE)},
        {"x": {"$value": {"$env": VARIABLE}}},
        {"auth_token": lmconf.Env("A_TOKEN", default="")},
    ]
    for extra in extras:
        for _ in range(2):
            lm("hi", extra=extra)
    assert len(server.received) == 4


def test_what_an_lm_cannot_write_down_is_refused() -> None:
    wrong: list[Settings] = [{"$env": "x", "y": lmconf.Env("Z")}, {"{{ x": lmconf.Env("Z")}]
    for said in wrong:
        with pytest.raises(lmconf.ProfileError, match="no document can say that"):
            lmconf.LM("openai/m", extra=said)
    right: list[Settings] = [{"X-A": {"$env": "HOME"}}, {"X-A": lmconf.Env("HOME")}]
    for words in right:
        made = lmconf.LM("openai/m", headers=words)
        assert made.spec.headers["X-A"] == lmconf.Env("HOME")


def test_what_plain_dspy_saved_holds_no_words() -> None:
    state = {
        "_dspy_lm_class": "dspy.clients.lm.LM", "model": "openai/m", "stop": ["{{ end }}"],
        "top_k": {"$env": VARIABLE}, "tools": [TOOL],
    }  # fmt: skip
    lm = lmconf.load_state(state)
    assert isinstance(lm, lmconf.LM)
    assert lm.spec.stop == ("{{ end }}",)
    assert lm.spec.extra == {"top_k": {"$env": VARIABLE}}
    assert json.dumps(lm.spec.tools) == json.dumps([TOOL])
