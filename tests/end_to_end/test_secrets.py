"""Law 5 with real calls: a secret goes out on the wire, and is left behind in nothing else."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.cli.running import run
from lmconf.errors import CallError, Error, ProfileError
from lmconf.reporting import to_json, to_text
from lmconf.runtime import LM
from lmconf.transports.quiet import import_litellm
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse

MARK = "Zq7vR-unseen-marker-93kd"
"""The secret. It has the shape of no known key, so that no mask finds it by its looks."""
PARTS = [MARK[:14], MARK[-14:], base64.b64encode(f"user:{MARK}".encode()).decode()[:-4]]
"""What would give it away: also its halves, for texts that were cut in its middle."""


def held(artefacts: dict[str, str | bytes]) -> list[str]:
    """Return the names of the artefacts that hold the secret, or a part of it."""
    return [
        name
        for name, made in artefacts.items()
        if any(part.encode() in made if isinstance(made, bytes) else part in made for part in PARTS)
    ]


def of_error(error: BaseException) -> dict[str, str | bytes]:
    """Return everything that may be read off an error, locals of our frames included."""
    made: dict[str, str | bytes] = {
        "str": str(error),
        "repr": repr(error),
        "args": repr(error.args),
        "dict": repr(vars(error)),
        "cause": repr(error.__cause__),
        "context": repr(error.__context__),
        "pickle": pickle.dumps(error),
        "pickle, read": repr(vars(pickle.loads(pickle.dumps(error)))),
    }
    told: traceback.TracebackException | None = traceback.TracebackException(
        type(error), error, error.__traceback__, capture_locals=True
    )
    depth = 0
    while told is not None:
        for number, frame in enumerate(told.stack):
            # A test knows the secret, and its own frames may.
            if "/tests/" not in frame.filename:
                made[f"locals {depth}.{number} {frame.name}"] = repr(frame.locals)
        told, depth = told.__cause__ or told.__context__, depth + 1
    return made


def pickled(thing: object) -> bytes:
    """Return `thing` pickled, or the words of the refusal."""
    try:
        return pickle.dumps(thing)
    except TypeError as refusal:
        return str(refusal).encode()


def of_lm(lm: LM) -> dict[str, str | bytes]:
    """Return everything that an LM tells of itself."""
    shown = io.StringIO()
    lm.inspect_history(n=100, file=shown)
    compiled = lm._compiled
    made: dict[str, str | bytes] = {
        "inspect_history": shown.getvalue(),
        "history": repr(list(lm.history)),
        "kwargs": repr(lm.kwargs),
        "pickled history": pickle.dumps(list(lm.history)),
        "compiled": f"{compiled} {compiled!r} {compiled.given!r}",
        "pickled compiled": pickled(compiled),
        "vars": repr(vars(lm)),
        "vars of its parts": repr(vars(lm._parts())),
    }
    for name, thing in {"lm": lm, "spec": lm.spec, "copy": lm.copy(temperature=0.5)}.items():
        made |= {f"str {name}": str(thing), f"repr {name}": repr(thing)}
        made[f"pickled {name}"] = pickled(thing)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for style in ("resolved", "minimal", "dspy"):
            made[f"state {style}"] = repr(lm.dump_state(style))
    made["warnings"] = " ".join(str(warning.message) for warning in warned)
    return made


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk lies in the test's own folder, and memory is empty."""
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[int], str]]:
    """What any logger has said since it was last asked, litellm's and structlog's included."""
    import_litellm()
    names = ["", "LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "httpx", "httpcore"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as events:

        def said(level: int) -> str:
            wanted = [record for record in caplog.records if record.levelno >= level]
            text = "\n".join([*map(caplog.handler.format, wanted), repr(events)])
            caplog.clear()
            events.clear()
            return text

        yield said
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate


def bearer(variable: str) -> dict[str, str]:
    return {"$env": variable, "format": "Bearer {}"}


DOORS: dict[str, dict[str, Any]] = {
    "a variable": {"api_key": {"$env": "ACME_API_KEY"}},
    "a file": {"api_key": {"$file": "secret.txt"}},
    "code": {"api_key": MARK},
    "a header in code": {"api_key": "", "headers": {"X-Api-Key": MARK}},
    "a header that is formatted": {"api_key": "", "headers": {"Authorization": bearer("ACME")}},
    "a header of any name": {"api_key": "", "headers": {"X-Team": {"$env": "ACME"}}},
    "the body, by reference": {
        "api_key": "",
        "extra": {"tool": {"access_token": {"$env": "ACME", "format": "tok={}"}}},
    },
    "the body, in code": {"api_key": "", "extra": {"list": [{"access_token": MARK}]}},
    "a token for Azure": {
        "model": "azure/tiny",
        "api_version": "2024-10-21",
        "azure_ad_token": {"$env": "ACME"},
    },
}

HOSTILE = (
    "a refusal",
    "an error",
    "a redirect",
    "no JSON",
    "another",
    "a packed",
    "a stream that f",
)
"""What repeats the secret."""
ECHO = f"the credential {MARK} (Bearer {MARK}) is not welcome"


def answers(server: Loopback, elsewhere: Loopback) -> dict[str, Reply | None]:
    """Return what servers do, each with the secret in it where an answer may be hostile."""
    breaking = sse(*chat_chunks("Hel", "lo", finish=None, usage=False), done=False)
    return {
        "success": Reply(json=chat()),
        "a refusal that echoes": Reply(
            status=401,
            json={"error": {"message": ECHO, "code": MARK}},
            headers={"x-request-id": f"id-{MARK}"},
        ),
        "a refusal in text": Reply(status=400, body=f"{' ' * 2380}{ECHO}".encode()),
        "a refusal of another form": Reply(status=422, json={"detail": [{"input": MARK}]}),
        "an error": Reply(status=500, json={"error": {"message": ECHO}}),
        "a redirect": Reply(
            status=307,
            headers={"location": f"{elsewhere.v1}/chat/completions?from={MARK}"},
            body=ECHO.encode(),
        ),
        "no JSON": Reply(body=f'{{"choices": [{ECHO}'.encode()),
        "another JSON": Reply(json={"choices": [], "said": ECHO, "error": {"message": ECHO}}),
        "a packed answer": Reply(json=chat(), headers={"content-encoding": MARK}),
        "a dropped connection": Reply(drop=True),
        "a short body": Reply(json=chat(), cut=10),
        "a stream that breaks": Reply(pieces=breaking),
        "a stream that fails": Reply(pieces=[*breaking, *sse({"error": {"message": ECHO}})]),
        "nobody there": None,
    }


WAYS = ("sync", "async", "stream", "astream")


def ask(lm: LM, way: str) -> str:
    async def awaited() -> str:
        return (await lm.aask("hi")).text

    async def streamed() -> str:
        async with lm.astream("hi") as pieces:
            return "".join([piece async for piece in pieces])

    match way:
        case "sync":
            return lm.ask("hi").text
        case "async":
            return asyncio.run(awaited())
        case "stream":
            with lm.stream("hi") as pieces:
                return "".join(pieces)
        case _:
            return asyncio.run(streamed())


def of_failure(lm: LM, way: str) -> dict[str, str | bytes]:
    """Return what may be read off the failure of a call; nothing if it succeeds."""
    try:
        ask(lm, way)
    except CallError as error:
        return of_error(error)
    return {}


@pytest.mark.parametrize("door", DOORS)
def test_a_secret_leaves_on_the_wire_and_stays_in_nothing(
    door: str,
    tmp_path: Path,
    logged: Callable[[int], str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = tmp_path / "kept"
    monkeypatch.setenv("ACME_API_KEY", MARK)
    monkeypatch.setenv("ACME", MARK)
    monkeypatch.chdir(tmp_path)
    Path("secret.txt").write_text(f"{MARK}\n")
    records = tmp_path / "calls.jsonl"
    artefacts: dict[str, str | bytes] = {}
    with serving(chat()) as server, serving(chat()) as elsewhere:
        for number, (said, reply) in enumerate(answers(server, elsewhere).items()):
            base = "http://127.0.0.1:9" if reply is None else server.url
            settings: dict[str, Any] = {
                "model": "openai/tiny",
                "api_base": base if "Azure" in door else f"{base}/v1",
                "num_retries": number % 2,
                "retry": {"initial": 0.001, "jitter": "none"},
                "callbacks": [{"use": "jsonl", "path": str(records)}, {"use": "log"}],
                "rollout_id": said,
                **DOORS[door],
            }
            lm = LM(**settings)
            if reply is not None:
                server.answers(reply)
            for way in WAYS if "stream" in said else (WAYS[number % 4], WAYS[(number + 1) % 4]):
                made = of_failure(lm, way)
                artefacts |= {f"{said}, {way}: {key}": text for key, text in made.items()}
            artefacts |= {f"{said}: {key}": text for key, text in of_lm(lm).items()}
            lm.close()
            # What a server says, others may log at DEBUG; not even they log what is sent.
            level = logging.INFO if said.startswith(HOSTILE) else logging.DEBUG
            artefacts[f"{said}: log"] = logged(level)
        assert all(MARK in received.text for received in server.received)
        assert len(server.received) > 30
        assert elsewhere.received == []
    artefacts["output"] = repr(capfd.readouterr())
    for path in [records, *kept.rglob("*"), *tmp_path.glob("home/**/*")]:
        if path.is_file():
            artefacts[str(path)] = path.read_bytes()
    assert "lm_call_failed" in str(artefacts["nobody there: log"])
    assert "httpcore" in str(artefacts["success: log"])
    assert len(records.read_bytes().splitlines()) > 25
    assert any(b"Hello." in path.read_bytes() for path in kept.rglob("*") if path.is_file())
    assert held(artefacts) == []


# Mistakes, told before anything is sent


def failure_of(act: Callable[[], object]) -> BaseException:
    """Return what `act` raises, which is something that lmconf raises on purpose."""
    with pytest.raises(Error) as raised:
        act()
    return raised.value


def shown(error: BaseException) -> dict[str, str | bytes]:
    """Return everything that may be read off an error and its diagnostics."""
    made = of_error(error)
    if isinstance(error, ProfileError):
        made |= {"text": to_text(error.diagnostics), "json": repr(to_json(error.diagnostics))}
    return made


@pytest.mark.parametrize(
    "act",
    [
        lambda: LM("openai/tiny", api_key=MARK, temperature=99),
        lambda: LM("openai/tiny", headers={"X-Api-Key": MARK}, no_such_setting=1),
        lambda: LM("openai/tiny", extra={"deep": [{"password": MARK}]}, n=0),
        lambda: LM("openai/tiny", api_key=[MARK]),
        lambda: LM("openai/tiny", api_key={"$evn": MARK}),
        lambda: LM("openai/tiny", openai_api_key=MARK),
        lambda: LM("openai/tiny", api_key=MARK.encode()),
        lambda: LM("openai/tiny").copy(api_key=MARK, temperature=99),
        lambda: LM("openai/tiny", api_key=MARK).copy(model="groq/tiny"),
        lambda: LM("openai/tiny", api_key="")("hi", api_key=MARK),
        lambda: LM("openai/tiny", api_key="").ask("hi", headers={"X-Api-Key": MARK}),
        lambda: LM("openai/tiny", api_key="").stream("hi", extra={"access_token": MARK}),
        lambda: asyncio.run(LM("openai/tiny", api_key="").acall("hi", headers={"a": {"token": MARK}})),
        lambda: LM("openai/tiny", api_key=f"{MARK}\r\nX-Evil: 1")("hi"),
        lambda: LM("openai/tiny", api_key=MARK, headers={"X-Team": {"$env": "ABSENT"}})("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "BAD_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "USER_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "QUERY_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_base={"$env": "FAR_BASE"}, api_key="")("hi"),
        lambda: LM("openai/tiny", api_key={"$env": "SPLIT"})("hi"),
        lambda: lmconf.load({"model": "openai/tiny", "api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny", "headers": {"X-Api-Key": MARK}}, untrusted=True),
        lambda: lmconf.load({"model": "openai/tiny"}, overrides={"api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny"}, overrides={"headers.X-Api-Key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny"}, vars={"api_key": MARK}),
        lambda: lmconf.load({"model": "openai/tiny", "vars": {"api_key": MARK}}),
        lambda: lmconf.load_state({"lmconf": 1, "model": "openai/tiny", "api_key": MARK}),
        lambda: lmconf.load_state({"_dspy_lm_class": "LM", "model": "openai/tiny", "hf_token": MARK}),
    ],
)  # fmt: skip
def test_a_mistake_in_code_is_told_without_the_secret_beside_it(
    act: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_BASE", f"ftp://{MARK}")
    monkeypatch.setenv("USER_BASE", f"http://user:{MARK}@127.0.0.1:9/v1")
    monkeypatch.setenv("QUERY_BASE", f"http://127.0.0.1:9/v1?key={MARK}")
    monkeypatch.setenv("FAR_BASE", f"http://{MARK}.example/v1")
    monkeypatch.setenv("SPLIT", f"{MARK}\r\nX-Evil: 1")
    assert held(shown(failure_of(act))) == []


PASTED = [
    "model: openai/tiny\napi_key: {it}\n",
    'model: openai/tiny\napi_key: "{it}"\n',
    "{{model: openai/tiny, api_key: {it}, temperature: 99}}\n",
    "model: openai/tiny\napi_key: |\n  {it}\n",
    "model: openai/tiny\napi_key: >-\n  {it}\n  {it}\ntemperature: hot\n",
    "model: openai/tiny\napi_key: [{it}, {{a: {it}}}]\n",
    "model: openai/tiny\nx-parked: &key {it}\napi_key: *key\n",
    "model: openai/tiny\nx-parked: &all {{api_key: {it}}}\n<<: *all\n",
    "model: openai/tiny\napi_key: {it}\napi_key: {it}\n",
    "model: openai/tiny\napi_key: {it}\n\ttemperature: 1\n",
    "model: openai/tiny\napi_key: '{it}\n",
    "model: openai/tiny\napi_key: !secret {it}\n",
    "model: openai/tiny\napi_key: {it} # {it}\nn: many\n",
    "model: openai/tiny\napi_key: {{$env: {{a: {it}}}}}\n",
    "model: openai/tiny\napi_key: {{$evn: '{it}'}}\n",
    "model: openai/tiny\napi_key: {{$env: KEY, default: {it}}}\n",
    "model: openai/tiny\napi_key: {{$env: KEY, format: 'Bearer {it} {{}}'}}\n",
    "model: openai/tiny\napi_key: {{$value: {it}}}\n",
    "model: openai/tiny\napi_key: '{it}{{{{ vars.a }}}}'\nvars: {{a: b}}\n",
    "model: openai/tiny\napi_key: {it}{{{{ vars.b }}}}\nvars: {{a: b}}\n",
    "model: openai/tiny\nopenai_api_key: {it}\n",
    "model: openai/tiny\nheaders: {{Authorization: Bearer {it}}}\n",
    "model: openai/tiny\nheaders:\n  X-Api-Key: {it}\n  X-Team: 5\n",
    "model: openai/tiny\nextra: {{deep: [{{client_secret: {it}}}]}}\n",
    "model: openai/tiny\nmetadata: {{password: {it}}}\n",
    "model: openai/tiny\ntrain_kwargs: {{hf_token: {it}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: vllm, env: {{HF_TOKEN: {it}}}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: vllm, args: {{api-key: {it}}}}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: command, command: [run, --api-key, {it}]}}\n",
    "model: openai/tiny\nlaunch_kwargs: {{use: command, command: [run, --api-key={it}]}}\n",
    "model: openai/tiny\ntransport: {{args: {{aws_session_token: {it}}}}}\n",
    "model: openai/tiny\ncallbacks: [{{use: 'a:B', args: {{dsn: {it}}}}}]\n",
    "model: openai/tiny\ncache: {{store: {{backend: redis, url: 'redis://:{it}@h/0', namespace: a}}}}\n",
    "model: openai/tiny\napi_base: https://user:{it}@llm.example/v1\n",
    "model: openai/tiny\napi_base: https://llm.example/v1?api_key={it}\n",
    "model: openai/tiny\nvars: {{token: {it}}}\n",
    "model: openai/tiny\nvars: {{a: {{$env: MY_TOKEN, default: {it}}}}}\n",
    "model: openai/tiny\nprovenance: {{secret: {it}}}\n",
    "lms:\n  gpt: {{model: openai/tiny, api_key: {it}}}\n  other: {{extends: gpt, n: many}}\n",
    "stores: {{team: {{backend: redis, password: {it}}}}}\nlms: {{a: {{model: openai/tiny}}}}\n",
    "defaults: {{api_key: {it}}}\nlms: {{a: {{model: openai/tiny}}, b: {{model: groq/tiny}}}}\n",
    "lms: {{_base: {{api_key: {it}}}, b: {{extends: _base, model: groq/tiny}}}}\n",
    "fallbacks: [{{model: openai/tiny, api_key: {it}}}]\nmodel: openai/tiny\n",
]  # fmt: skip


@pytest.mark.parametrize("document", PASTED)
def test_a_secret_pasted_into_a_document_is_refused_and_never_repeated(
    document: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "profile.yaml"
    path.write_text(document.format(it=MARK))
    artefacts = shown(failure_of(lambda: lmconf.load(path)))
    artefacts |= shown(failure_of(lambda: lmconf.load(path, untrusted=True)))
    for arguments in (["validate"], ["validate", "--format", "json"], ["show"], ["dump"]):
        assert run([*arguments, str(path)]) == 1
    artefacts["output"] = repr(capfd.readouterr())
    assert held(artefacts) == []
