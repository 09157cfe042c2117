"""LiteLLM's own loggers, in front of a server on loopback, and what becomes of those not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from lmconf.callbacks import CallbackWarning
from lmconf.callbacks.litellm_logger import LiteLLMCallback
from lmconf.callbacks.litellm_names import LITELLM_LOGGERS
from lmconf.errors import ServerError, UsageError
from lmconf.testing import fake
from tests.loopback import Loopback, Received, Reply, serving

NOT_LOGGERS = {
    # They change requests or limits, or hold prompts.
    "anthropic_cache_control_hook",
    "bitbucket",
    "compression_interception",
    "dotprompt",
    "dynamic_rate_limiter",
    "dynamic_rate_limiter_v3",
    "gitlab",
    "litellm_agent",
    "vector_store_pre_call_hook",
}
OLD = {
    # LiteLLM knows them by name alone.
    "athina", "greenscale", "helicone", "lunary", "promptlayer", "s3", "sentry", "supabase",
    "traceloop", "wandb",
}  # fmt: skip
MARKER = "sk-live-0123456789abcdef"


def test_the_names_are_those_of_the_installed_litellm() -> None:
    import litellm

    known = set(get_args(litellm._custom_logger_compatible_callbacks_literal))
    assert set(LITELLM_LOGGERS) - OLD <= known
    assert known - NOT_LOGGERS <= set(LITELLM_LOGGERS)
    machinery = Path(litellm.__file__).parent / "litellm_core_utils" / "litellm_logging.py"
    text = machinery.read_text()
    assert [name for name in OLD if f'callback == "{name}"' not in text] == []


def test_names_are_known_without_litellm() -> None:
    code = "import sys, lmconf.callbacks, lmconf.callbacks.specs; print('litellm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", ["langfuse", "sentry", "supabase", "wandb", "prometheus"])
def test_a_logger_whose_package_is_missing_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM would install some of them by itself."""
    monkeypatch.setitem(sys.modules, LITELLM_LOGGERS[name], None)
    with (
        fake("Hello.") as server,
        pytest.raises(UsageError, match=f"LiteLLM's logger `{name}` needs the package"),
    ):
        server.lm(callbacks=[{"use": "litellm_logger", "args": {"name": name}}])("Hi")
    assert server.requests == ()


def collected(received: list[Received]) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    for request in received:
        records += [run["inputs"] for run in request.json["post"]]
    return records


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    with serving() as running:
        running.script = lambda _: Reply(json={})
        monkeypatch.setenv("LANGSMITH_BASE_URL", running.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "lsv2-1")
        yield running


def test_a_named_logger_is_told_what_litellm_tells_its_own(collector: Loopback) -> None:
    """Answers, failures and hits, each once, as LiteLLM's standard payload."""
    LiteLLMCallback("langsmith")  # imports nothing
    with fake(["Hello there.", ServerError("down", status=503)]) as server:
        lm = server.lm(
            callbacks=[{"use": "litellm_logger", "args": {"name": "langsmith"}}],
            num_retries=0,
            cache=True,
            api_key=MARKER,
        )
        lm("Hi", temperature=0.5)
        lm("Hi", temperature=0.5)
        with pytest.raises(ServerError):
            lm("Bye")
        wait_for_litellm()
        lm.close()
    records = collected(collector.received)
    assert [record["status"] for record in records] == ["success", "success", "failure"]
    first, hit, failed = records
    assert first["messages"] == [{"role": "user", "content": "Hi"}]
    assert first["response"]["choices"][0]["message"]["content"] == "Hello there."
    assert first["total_tokens"] == 3
    assert first["model_parameters"]["temperature"] == 0.5
    assert hit["cache_hit"] is True
    assert "down" in failed["error_str"]
    assert MARKER not in json.dumps(records)


ENDING = """
import asyncio
from lmconf.callbacks.litellm_logger import LiteLLMCallback
from lmconf.testing import fake
LiteLLMCallback.leaving *= 6  # a busy machine takes long to import LiteLLM
with fake("Hello.") as server:
    told = {"callbacks": [{"use": "litellm_logger", "args": {"name": "langsmith"}}]}
    server.lm(**told)("dropped")
    kept = server.lm(**told)
    kept("kept")
    asyncio.run(kept.acall("kept, on a loop"))
raise SystemExit(3)
"""


def test_nothing_is_lost_when_a_program_ends_and_closes_nothing(collector: Loopback) -> None:
    """Not even while LiteLLM is still being imported, nor of an LM that nobody has any more."""
    address = collector.url.replace("127.0.0.1", "localhost")  # to be looked up, in a thread
    ended = subprocess.run(
        [sys.executable, "-c", ENDING],
        cwd=Path(__file__).parents[3],
        env={**os.environ, "LANGSMITH_BASE_URL": address},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    asked = [record["messages"][0]["content"] for record in collected(collector.received)]
    assert sorted(asked) == ["dropped", "kept", "kept, on a loop"]


def wait_for_litellm() -> None:
    """Wait until LiteLLM was imported, in the thread of the callback; it takes seconds."""
    import litellm  # noqa: F401


def test_a_logger_that_cannot_be_set_up_is_warned_of_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LAGO_API_KEY", raising=False)
    with fake("Hello.") as server:
        lm = server.lm(callbacks=[{"use": "litellm_logger", "args": {"name": "lago"}}])
        wait_for_litellm()
        with pytest.warns(CallbackWarning, match="`lago` cannot be set up: .*LAGO_API_KEY"):
            lm("Hi")
            lm.close()
