"""LMs whose answers are kept in Redis, too: who finds them, and what a lost server costs a call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.caches import live_store
from lmconf.caches.redis import RedisCache
from lmconf.caches.specs import MemoryStore, RedisStore, StoreSpec
from lmconf.caches.store import CacheWarning
from lmconf.cli.entry import run
from lmconf.runtime import LM
from lmconf.secrets.references import Env
from tests.loopback import Loopback, chat, serving
from tests.redis_server import PASSWORD, RedisServer

pytest.importorskip("redis")


@pytest.fixture(autouse=True)
def address(redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_REDIS", redis.url)
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "kept"))
    live_store(MemoryStore()).clear()


@pytest.fixture
def server() -> Iterator[Loopback]:
    with serving(chat()) as made:
        yield made


@pytest.fixture
def namespace() -> str:
    return uuid.uuid4().hex


def lm_at(server: Loopback, namespace: str, **store: Any) -> LM:
    said = {"backend": "redis", "url": {"$env": "TEAM_REDIS"}, "namespace": namespace, **store}
    return LM("openai/tiny", api_base=server.v1, api_key="", cache={"store": said})


def written(namespace: str, *, disk: bool = True) -> None:
    """Wait until what was put is with the server."""
    spec: StoreSpec = RedisStore(
        backend="redis", url=Env(name="TEAM_REDIS"), namespace=namespace, disk=disk
    )
    live_store(spec).stats()


def test_another_machine_finds_the_answer_and_learns_it(
    server: Loopback, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm_at(server, namespace)("hi")
    written(namespace)
    live_store(MemoryStore()).clear()
    monkeypatch.setenv("LMCONF_CACHE_DIR", str(tmp_path / "other machine"))
    assert lm_at(server, namespace).ask("hi").cache_hit
    live_store(MemoryStore()).clear()
    monkeypatch.delenv("TEAM_REDIS")  # its own disk has it now
    assert lm_at(server, namespace).ask("hi").cache_hit
    assert len(server.received) == 1


def test_namespaces_share_nothing(server: Loopback, namespace: str) -> None:
    lm_at(server, namespace, disk=False)("hi")
    written(namespace, disk=False)
    live_store(MemoryStore()).clear()
    assert not lm_at(server, f"{namespace}b", disk=False).ask("hi").cache_hit


def test_without_a_local_copy_nothing_is_written_here(
    server: Loopback, namespace: str, tmp_path: Path
) -> None:
    lm_at(server, namespace, disk=False)("hi")
    written(namespace, disk=False)
    live_store(MemoryStore()).clear()
    assert lm_at(server, namespace, disk=False).ask("hi").cache_hit
    assert not (tmp_path / "kept").exists()


async def test_the_server_is_never_asked_on_an_event_loop(
    server: Loopback, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs would hold up every task of it."""
    asked = []
    real = RedisCache._do

    def noting(self: RedisCache, *arguments: Any) -> Any:
        asked.append(threading.get_ident())
        return real(self, *arguments)

    monkeypatch.setattr(RedisCache, "_do", noting)
    lm = lm_at(server, namespace)
    assert await lm.acall("hi") == ["Hello."]
    await asyncio.to_thread(written, namespace)
    assert len(asked) >= 3  # looked up, put, counted
    assert threading.get_ident() not in asked


def test_what_a_server_holds_is_looked_after_by_the_command_line(
    server: Loopback, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = {"backend": "redis", "url": {"$env": "TEAM_REDIS"}, "namespace": namespace}
    profile = tmp_path / "team.yaml"
    profile.write_text(json.dumps({"model": "openai/tiny", "cache": {"store": store}}))

    def told(*arguments: str) -> str:
        assert run(["cache", *arguments, str(profile)]) == 0
        return capsys.readouterr().out

    lm_at(server, namespace)("hi")
    lm_at(server, namespace)("hi again")
    written(namespace)
    assert f"Redis, namespace {namespace}: 2 answers" in told("stats")
    first, second = told("list").splitlines()
    assert "Hello." in first and "for ever" in second
    assert told("show", first.split()[0]) == "Hello.\n"
    exported = told("export")
    (tmp_path / "answers.jsonl").write_text(exported)
    assert "2 answers" in told("prune", "--older", "0s")
    assert "2 answers added" in told("import", str(tmp_path / "answers.jsonl"))
    assert told("export") == exported
    assert "2 answers removed" in told("clear", "--yes")
    assert told("list") == ""


def test_a_server_that_hangs_fails_no_call(
    server: Loopback, namespace: str, redis: RedisServer
) -> None:
    lm = lm_at(server, namespace)
    lm("warm")
    written(namespace)
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        with pytest.warns(CacheWarning):
            begun = time.monotonic()
            assert lm("hi") == ["Hello."]
            assert lm("hi again") == ["Hello."]
            assert time.monotonic() - begun < 1.5
            written(namespace)
    finally:
        os.kill(redis.pid, signal.SIGCONT)


def test_a_server_that_is_gone_fails_no_call(server: Loopback, namespace: str) -> None:
    os.environ["TEAM_REDIS"] = f"redis://:{PASSWORD}@127.0.0.1:1/0"
    lm = lm_at(server, namespace)
    with pytest.warns(CacheWarning) as said:
        assert lm("hi") == ["Hello."]
        assert lm("hi again") == ["Hello."]
        written(namespace)
    assert len(said) == 1
    assert PASSWORD not in str(said[0].message)


def test_the_password_stands_nowhere(server: Loopback, namespace: str) -> None:
    lm = lm_at(server, namespace)
    answer = lm.ask("hi")
    told = [repr(lm), repr(lm.spec), json.dumps(lm.dump_state()), str(lm.history), repr(answer)]
    assert PASSWORD not in "".join(told)


def test_an_address_with_a_password_is_refused_in_code(
    server: Loopback, namespace: str, redis: RedisServer
) -> None:
    with pytest.raises(lmconf.ProfileError, match="holds a secret") as refused:
        lm_at(server, namespace, url=redis.url)
    assert PASSWORD not in str(refused.value)
