"""Databricks where neither key nor address is set: the workspace that its SDK is configured for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lmconf
from lmconf.errors import AuthenticationFailed, BadResponse, ConnectionFailed, NotCarriedOut
from lmconf.transports import Transport, make
from lmconf.transports.specs import TransportSpec
from tests.clouds import STREAMED, WHOLE, Way, asking, text_of
from tests.loopback import Loopback, Received, Reply, chat, chat_chunks, serving, sse

TOKEN = "dapi-of-the-machine-0123456789"
MODEL = "databricks-meta-llama-3-1-70b-instruct"


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "databrickscfg"))


class Workspace(Loopback):
    """A workspace that knows nothing but serving endpoints; `asked` is what they were sent."""

    def answers(self, *replies: Reply | dict[str, Any]) -> None:
        super().answers(*replies)
        answer = self.script

        def script(received: Received) -> Reply:
            # The SDK asks a workspace of what kind it is before it uses it.
            return answer(received) if received.method == "POST" else Reply(status=404, json={})

        self.script = script

    @property
    def asked(self) -> list[Received]:
        return [received for received in self.received if received.method == "POST"]


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    server = Workspace(lambda _: Reply())
    server.answers(chat())
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    yield server
    server.close()


@pytest.mark.parametrize("way", [*WHOLE, *STREAMED])
def test_the_configured_workspace_is_asked_with_its_own_token(
    way: Way, transport: Transport, workspace: Workspace
) -> None:
    if way in STREAMED:
        workspace.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo."))))
    assert text_of(way(transport, asking("", "databricks", MODEL))) == "Hello."
    received = workspace.asked[-1]
    assert received.path == "/serving-endpoints/chat/completions"
    assert received.header("authorization") == f"Bearer {TOKEN}"
    assert received.text.count(TOKEN) == 1
    assert "lmconf-places" not in received.text


@pytest.mark.parametrize("way", WHOLE)
def test_a_rotated_token_is_sent_with_the_next_request(
    way: Way, transport: Transport, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in (TOKEN, "dapi-rotated"):
        monkeypatch.setenv("DATABRICKS_TOKEN", token)
        way(transport, asking("", "databricks", MODEL))
        assert workspace.asked[-1].header("authorization") == f"Bearer {token}"


@pytest.mark.parametrize("way", STREAMED)
def test_a_stream_that_is_cut_is_no_whole_answer(
    way: Way, transport: Transport, workspace: Workspace
) -> None:
    workspace.answers(Reply(pieces=sse(*chat_chunks("Hel", finish=None, usage=False), done=False)))
    with pytest.raises(BadResponse, match="truncated") as raised:
        way(transport, asking("", "databricks", MODEL))
    assert raised.value.partial == "Hel"


@pytest.mark.parametrize("way", WHOLE)
def test_redirects_are_not_followed_and_an_echoed_token_is_masked(
    way: Way, transport: Transport, workspace: Workspace
) -> None:
    workspace.answers(Reply(status=307, headers={"location": "http://127.0.0.1:9/"}, json={}))
    with pytest.raises(ConnectionFailed, match="307"):
        way(transport, asking("", "databricks", MODEL))
    workspace.answers(Reply(status=401, json={"message": f"bad token {TOKEN}"}))
    with pytest.raises(AuthenticationFailed) as raised:
        way(transport, asking("", "databricks", MODEL))
    assert TOKEN not in f"{raised.value!r} {raised.value} {vars(raised.value)}"


@pytest.mark.parametrize("way", WHOLE)
def test_a_machine_without_a_configuration_is_told_both_ways_to_make_one(
    way: Way, transport: Transport
) -> None:
    with pytest.raises(AuthenticationFailed, match="no credential") as raised:
        way(transport, asking("", "databricks", MODEL))
    assert "DATABRICKS_API_KEY" in str(raised.value)
    assert "databricks auth login" in str(raised.value)


def test_a_missing_sdk_is_told_with_what_to_install(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "databricks.sdk.core", None)
    with pytest.raises(NotCarriedOut, match="databricks-sdk") as raised:
        transport.complete(asking("", "databricks", MODEL))
    assert "lmconf-runtime[databricks]" in str(raised.value)


def test_an_lm_that_states_nothing_is_answered_by_the_configured_workspace(
    workspace: Workspace,
) -> None:
    lm = lmconf.LM(f"databricks/{MODEL}", cache=False)
    assert lm("Say hello.") == ["Hello."]
    assert workspace.asked[0].header("authorization") == f"Bearer {TOKEN}"
    assert TOKEN not in str(lm.dump_state())


def test_usual_variables_go_before_the_sdk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(chat()) as other:
        monkeypatch.setenv("DATABRICKS_API_BASE", f"{other.url}/serving-endpoints")
        with pytest.raises(AuthenticationFailed, match="DATABRICKS_API_KEY"):
            lmconf.LM(f"databricks/{MODEL}", cache=False, num_retries=0)("Say hello.")
        monkeypatch.setenv("DATABRICKS_API_KEY", "the-key-of-the-variable")
        lmconf.LM(f"databricks/{MODEL}", cache=False)("Say hello.")
        assert other.received[0].header("authorization") == "Bearer the-key-of-the-variable"
    assert workspace.asked == []


def test_answers_of_two_workspaces_are_told_apart(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = lmconf.LM(f"databricks/{MODEL}", cache={"store": {"backend": "memory"}})
    assert lm("Say hello.") == ["Hello."]
    assert lm("Say hello.") == ["Hello."]
    assert len(workspace.asked) == 1
    other = Workspace(lambda _: Reply())
    other.answers(chat("From elsewhere."))
    monkeypatch.setenv("DATABRICKS_HOST", other.url)
    assert lm("Say hello.") == ["From elsewhere."]
    other.close()
