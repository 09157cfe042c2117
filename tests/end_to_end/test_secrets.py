"""Law 5 with real calls: a secret goes out on the wire, and is left behind in nothing else."""

from __future__ import annotations

import logging
import struct
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lmconf.caches import CacheWarning, live_store
from lmconf.caches.specs import MemoryStore
from lmconf.callbacks.otel import OtelCallback
from lmconf.errors import CallError, LaunchError
from lmconf.launchers.environments import server_environment
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.processes import ServerCommand
from lmconf.launchers.specs import LaunchSpec, Ready
from lmconf.launchers.start import start
from lmconf.runtime import LM
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Env
from lmconf.transports.litellm.patches import import_litellm
from tests.artefacts import MARK, WAYS, ask, failure_of, held, of_error, of_lm
from tests.loopback import (
    Loopback,
    Reply,
    chat,
    chat_chunks,
    serving,
    sse,
)


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept on disk lies in the test's own folder, and memory is empty."""
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[int], str]]:
    """What any logger has said since it was last asked, litellm's and structlog's included."""
    import_litellm()
    caplog.set_level(logging.DEBUG)  # before the rest: it gives back what it finds, after us
    names = ["", "LiteLLM", "LiteLLM Router", "LiteLLM Proxy", "openai", "httpx", "httpcore"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.level, logger.propagate) for logger in loggers]
    handlers = [logger.handlers for logger in loggers[1:]]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
        logger.propagate = True
    for logger in loggers[1:]:
        logger.handlers = []  # what litellm imported by itself would print is looked at here, too
    with structlog.testing.capture_logs() as events:

        def said(level: int) -> str:
            wanted = [record for record in caplog.records if record.levelno >= level]
            text = "\n".join([*map(caplog.handler.format, wanted), repr(events)])
            caplog.clear()
            events.clear()
            return text

        yield said
    structlog.reset_defaults()  # capturing counts as configuring
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
    for logger, printing in zip(loggers[1:], handlers, strict=True):
        logger.handlers = printing


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
        "extra": {"tool": {"access_token": Env("ACME", format="tok={}")}},
    },
    "the body, in code": {"api_key": "", "extra": {"list": [{"access_token": MARK}]}},
    "a token for Azure": {
        "model": "azure/tiny",
        "api_version": "2024-10-21",
        "azure_ad_token": {"$env": "ACME"},
    },
    "an account of AWS": {
        "model": "sagemaker_chat/tiny",
        "aws_region_name": "eu-central-1",
        "aws_access_key_id": {"$env": "ACME"},
        "aws_secret_access_key": {"$env": "ACME"},
        "aws_session_token": {"$env": "ACME"},
    },
}
CLOUDS = ("a token for Azure", "an account of AWS")
"""Their servers' addresses have no path."""

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


class Spans(OtelCallback):
    """The callback `otel` with everything that it can tell, and what it has told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        super().__init__(
            content=True,
            tracer_provider=tracers,
            meter_provider=MeterProvider(metric_readers=[self._reader]),
        )

    def told(self) -> str:
        metrics = self._reader.get_metrics_data()
        spans = [span.to_json() for span in self._exporter.get_finished_spans()]
        return "\n".join([*spans, "" if metrics is None else metrics.to_json()])


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
    spans = Spans()
    artefacts: dict[str, str | bytes] = {}
    with serving(chat()) as server, serving(chat()) as elsewhere:
        for number, (said, reply) in enumerate(answers(server, elsewhere).items()):
            base = "http://127.0.0.1:9" if reply is None else server.url
            settings: dict[str, Any] = {
                "model": "openai/tiny",
                "api_base": base if door in CLOUDS else f"{base}/v1",
                "num_retries": number % 2,
                "retry": {"initial": 0.001, "jitter": "none"},
                "callbacks": [
                    {"use": "jsonl", "path": str(records)},
                    {"use": "log"},
                    {"use": "meter", "path": str(tmp_path / "meter.json")},
                    spans,
                ],
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
    artefacts["spans"] = spans.told()
    for path in [records, tmp_path / "meter.json", *kept.rglob("*"), *tmp_path.glob("home/**/*")]:
        if path.is_file():
            artefacts[str(path)] = path.read_bytes()
    assert "lm_call_failed" in str(artefacts["nobody there: log"])
    assert "httpcore" in str(artefacts["success: log"])
    assert len(records.read_bytes().splitlines()) > 25
    assert str(artefacts["spans"]).count("gen_ai.input.messages") > 25
    assert b"AuthenticationFailed" in (tmp_path / "meter.json").read_bytes()
    assert any(b"Hello." in path.read_bytes() for path in kept.rglob("*") if path.is_file())
    assert held(artefacts) == []


ADDRESSES: dict[str, dict[str, Any]] = {
    "of the server": {"api_base": {"$env": "PLACE"}},
    "of a store": {"cache": {"store": {"backend": "redis", "url": {"$env": "PLACE"}, "namespace": "n"}}},
    "of a proxy": {"api_base": "http://llm.example/v1", "allow_http": True},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::lmconf.caches.store.CacheWarning")
@pytest.mark.parametrize("whose", ADDRESSES)
def test_a_password_in_an_address_is_shown_by_nothing(
    whose: str,
    tmp_path: Path,
    logged: Callable[[int], str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scheme = "redis" if whose == "of a store" else "http"
    monkeypatch.setenv("PLACE", f"{scheme}://user:{MARK}@127.0.0.1:9/0")
    if whose == "of a proxy":
        monkeypatch.delenv("NO_PROXY")
        monkeypatch.setenv("HTTP_PROXY", f"http://user:{MARK}@127.0.0.1:9")
    artefacts: dict[str, str | bytes] = {}
    with serving(chat()) as server, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", CacheWarning)
        given = {"api_base": server.v1, "api_key": "", "num_retries": 0, **ADDRESSES[whose]}
        records = {"use": "jsonl", "path": str(tmp_path / "calls.jsonl")}
        with LM("openai/tiny", callbacks=[records, {"use": "log"}], **given) as lm:
            for way in WAYS:
                failed = of_failure(lm, way)
                assert bool(failed) is (whose != "of a store")
                artefacts |= {f"{way}: {key}": text for key, text in failed.items()}
            artefacts |= of_lm(lm)
    artefacts |= {"log": logged(logging.DEBUG), "output": repr(capfd.readouterr())}
    artefacts["warnings"] = " ".join(str(warning.message) for warning in said)
    artefacts |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert held(artefacts) == []
    assert len(said) == (whose == "of a store")


# Servers of one's own


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="it reads /proc")
def test_a_launched_server_sees_what_the_profile_names_and_shows_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACME", MARK)
    monkeypatch.setenv("UNNAMED_API_KEY", "ambient-secret")
    spec = LaunchSpec(use="command", env=FrozenMap({"HF_TOKEN": Env(name="ACME")}))
    env, hidden = server_environment(spec, {})
    folder = new_run_folder("echo")
    command = ServerCommand(
        argv=(sys.executable, "-I", "-c", TELLING),
        model="tiny",
        folder=folder,
        env=env,
        find=lambda: None,
        input=f'{{"key": "{MARK}"}}',
        hidden=hidden,
    )
    brief = msgspec.structs.replace(spec, ready=Ready(timeout=1.0))
    with pytest.raises(LaunchError) as raised:
        start(command, brief)
    seen = (folder / "seen").read_bytes()
    assert MARK.encode() in seen.partition(b"--")[0]  # the server has it,
    artefacts: dict[str, str | bytes] = {
        "command lines": seen.partition(b"--")[2],
        "command": repr(command),
    }
    artefacts |= {f"error: {key}": text for key, text in of_error(raised.value).items()}
    assert b"ambient-secret" not in seen
    assert "***" in str(raised.value)
    assert held(artefacts) == []  # and nobody else.


def test_a_server_that_cannot_start_is_told_without_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    weights = tmp_path / "broken.gguf"
    weights.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 1))
    server = {"use": "llama_cpp", "weights": str(weights), "env": {"HF_TOKEN": MARK}}
    lm = LM("openai/tiny", launch_kwargs=server)
    artefacts = of_lm(lm)
    acts: dict[str, Callable[[], object]] = {"launch": lm.launch, "call": lambda: lm("hi")}
    for name, act in acts.items():
        error = failure_of(act)
        assert isinstance(error, LaunchError)
        artefacts |= {f"{name}: {key}": text for key, text in of_error(error).items()}
    assert held(artefacts) == []


TELLING = """
import os, pathlib, sys, time
folder = next(p for p in pathlib.Path(os.environ["HOME"]).parent.glob("state/servers/*"))
lines = [pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (os.getpid(), os.getppid())]
above = pathlib.Path(f"/proc/{os.getppid()}/environ").read_bytes()
own = pathlib.Path("/proc/self/environ").read_bytes()
(folder / "seen").write_bytes(own + b"--" + b"".join(lines) + above)
print("the token is", os.environ["HF_TOKEN"], flush=True)
time.sleep(30)
"""
