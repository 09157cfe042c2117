"""An LM with a server of its own: a real model behind llama.cpp, started by the first call."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.specs import MemoryStore
from lmconf.errors import AuthenticationFailed, LaunchError, UsageError
from lmconf.launchers import LAUNCH
from lmconf.runtime import LM
from tests.standins.kinds import working
from tests.unit.launchers.scripted import until

WEIGHTS = Path(__file__).parents[2] / "profiles/models/lmconf-tiny-f16.gguf"
pytestmark = pytest.mark.slow


@pytest.fixture
def lm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LM]:
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()
    server = {"use": "llama_cpp", "weights": str(WEIGHTS), "args": {"ctx-size": 512}}
    with LM("openai/lmconf-tiny", launch_kwargs=server, max_tokens=16) as made:
        yield made


def test_the_first_call_starts_the_server_and_closing_ends_it(lm: LM) -> None:
    state = json.dumps(lm.dump_state())
    assert not lm.server
    assert lm("Say this is a test!") == ["This is a test!"]
    server = lm.server
    assert server is not None
    assert server.status() == "running"
    assert json.dumps(lm.dump_state()) == state
    assert str(server.pid) not in json.dumps(lm.history[:][-1]["kwargs"])
    lm.close()
    assert server.status() == "stopped"


def test_threads_loops_and_copies_share_one_server(lm: LM) -> None:
    servers = set()

    def ask() -> None:
        lm.copy(cache=False)("Say hello", temperature=0.5)
        servers.add(lm.server)

    async def both() -> None:
        await asyncio.gather(lm.acall("Say hello", cache=False), lm.acall("Hi", cache=False))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(both())
    for thread in threads:
        thread.join()
    assert len(servers) == 1
    (server,) = servers
    copy = lm.copy(temperature=0.7)
    lm.close()
    assert server is not None
    assert server.status() == "running"
    assert copy.server is server
    copy.close()
    assert server.status() == "stopped"


def test_an_answer_is_found_again_whatever_the_port_and_without_the_server(lm: LM) -> None:
    first = lm.ask("Say this is a test!")
    lm.kill()
    assert lm.server is None
    again = lm.copy()
    assert again.ask("Say this is a test!").cache_hit
    assert again.server is None
    assert first.text == again("Say this is a test!")[0]
    assert lm.ask("Say hello").attempts == 1


@pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning")
def test_a_real_model_streams_and_answers_the_text_api(lm: LM) -> None:
    with lm.stream("Say this is a test!", cache=False) as stream:
        pieces = list(stream)
    assert len(pieces) > 1
    assert "".join(pieces) == "This is a test!"
    assert stream.answer.usage["completion_tokens"] >= len(pieces)
    text = lm.copy(model_type="text")
    assert isinstance(text("Once upon a time")[0], str)
    assert text.history[-1]["usage"]["total_tokens"] > 0


def test_a_server_that_only_a_person_may_start_waits_for_it(lm: LM) -> None:
    manual = lm.copy(launch_kwargs={"auto": "manual"}, cache=False)
    with pytest.raises(LaunchError, match=r"call launch\(\) first"):
        manual("hi")
    manual.launch()
    assert manual("Say this is a test!") == ["This is a test!"]
    manual.close()


def test_an_lm_that_is_gone_leaves_no_server(lm: LM) -> None:
    copy = lm.copy(launch_kwargs={"args": {"ctx-size": 256}}, cache=False)
    copy("hi")
    server = copy.server
    assert server is not None
    del copy
    gc.collect()
    assert server.status() == "stopped"


def test_an_lm_without_a_server_says_so() -> None:
    with pytest.raises(UsageError, match="launch_kwargs"):
        LM("openai/x", api_key="").launch()


def test_a_server_ends_when_it_was_idle_for_its_ttl_and_the_next_call_starts_another(
    lm: LM,
) -> None:
    brief = lm.copy(launch_kwargs={"ttl": 0.5}, cache=False)
    with brief.stream("Say this is a test!") as stream:
        pieces = iter(stream)
        next(pieces)
        first = brief.server
        assert first is not None
        time.sleep(1.2)
        # A call that is under way needs it, however long it takes.
        assert first.status() == "running"
        list(pieces)
    until(lambda: brief.server is None)
    assert stream.answer.text == "This is a test!"
    assert brief("Say this is a test!") == ["This is a test!"]
    again = brief.server
    assert again is not None
    assert again.pid != first.pid
    brief.close()


def test_anthropics_api_is_answered_by_a_server_of_ones_own(lm: LM) -> None:
    with LM(
        "anthropic/lmconf-tiny", launch_kwargs=lm.dump_state()["launch_kwargs"], max_tokens=16
    ) as claude:
        assert claude("Say this is a test!", cache=False) == ["This is a test!"]
        with claude.stream("Say this is a test!", cache=False) as stream:
            assert "".join(stream) == "This is a test!"


@pytest.mark.parametrize("kind", ["command", "ollama", "sglang", "transformers", "vllm"])
def test_every_kind_of_server_answers_calls(kind: str, tmp_path: Path) -> None:
    spec = LAUNCH.write(working(tmp_path)[kind])
    with LM("openai/acme/tiny", launch_kwargs=spec, max_tokens=16, cache=False) as made:
        assert made("Say this is a test!") == ["This is a test!"]


def test_a_server_asks_for_the_key_that_its_profile_refers_to(
    lm: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVER_KEY", "blue-moon-4711")
    profile = tmp_path / "keyed.yaml"
    profile.write_text(
        "model: openai/lmconf-tiny\nmax_tokens: 16\ncache: false\napi_key: {$env: SERVER_KEY}\n"
        f"launch_kwargs: {{use: llama_cpp, weights: {WEIGHTS},"
        " args: {ctx-size: 512, api-key: {$env: SERVER_KEY}}}\n"
    )
    with lmconf.lm(str(profile)) as keyed:
        assert keyed("Say this is a test!") == ["This is a test!"]
        assert keyed.dump_state()["launch_kwargs"]["args"]["api-key"] == {"$env": "SERVER_KEY"}
        server = keyed.server
        assert server is not None
        assert not [
            file for file in server.log.parent.iterdir() if b"blue-moon" in file.read_bytes()
        ]
        keyless = LM("openai/lmconf-tiny", api_base=server.api_base, api_key="", cache=False)
        with pytest.raises(AuthenticationFailed):
            keyless("hi")


def test_a_server_gives_embeddings_where_its_arguments_ask_for_them(lm: LM) -> None:
    asked = {"model": "lmconf-tiny", "input": ["Say this is a test!", "Say hello", "Say hello"]}
    with lm.copy(launch_kwargs={"args": {"embeddings": True, "pooling": "mean"}}) as both:
        reply = httpx.post(f"{both.launch().api_base}/embeddings", json=asked)
        reply.raise_for_status()
        one, other, again = (each["embedding"] for each in reply.json()["data"])
        assert math.hypot(*one) == pytest.approx(1.0, abs=1e-3)
        assert other == pytest.approx(again, abs=1e-4) != pytest.approx(one, abs=1e-4)
        assert both("Say this is a test!", cache=False) == ["This is a test!"]
    assert httpx.post(f"{lm.launch().api_base}/embeddings", json=asked).status_code == 501
