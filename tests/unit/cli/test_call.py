"""`lmconf call`, in this process, against a server on loopback."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse
from tests.unit.cli.running import Lmconf


@pytest.fixture
def server(project: Path) -> Iterator[Loopback]:
    """A server, and an lmconf.yaml whose LMs it answers for."""
    with serving() as running:
        (project / "lmconf.yaml").write_text(
            "defaults: {num_retries: 0, cache: false}\n"
            "main: a\n"
            "lms:\n"
            f"  a: {{model: openai/tiny, api_base: '{running.v1}', api_key: ''}}\n"
            "  b: {extends: a, temperature: 0.5, cache: true}\n"
            "  keyed: {extends: a, api_key: {$env: ACME_KEY}}\n"
        )
        yield running


def test_the_answer_goes_to_standard_output_and_nothing_else(
    server: Loopback, lmconf: Lmconf
) -> None:
    server.answers(chat("Hello \x1b[31mthere."))
    assert lmconf("call", "lmconf", "Say hello.") == (0, "Hello \x1b[31mthere.\n", "")
    assert server.received[0].json["messages"] == [{"role": "user", "content": "Say hello."}]
    assert not server.received[0].json.get("stream")


def test_system_and_set_reach_the_request(server: Loopback, lmconf: Lmconf) -> None:
    lmconf("call", "lmconf", "hi", "--system", "Be kind.", "--set", "temperature=1.5")
    sent = server.received[0].json
    assert sent["messages"][0] == {"role": "system", "content": "Be kind."}
    assert sent["temperature"] == 1.5


@pytest.mark.parametrize("arguments", [["lmconf"], ["lmconf", "-"]])
def test_the_prompt_is_read_from_standard_input(
    server: Loopback, lmconf: Lmconf, arguments: list[str]
) -> None:
    lmconf("call", *arguments, stdin="Grüße\n\n".encode())
    assert server.received[0].json["messages"][0]["content"] == "Grüße\n"


@pytest.mark.parametrize(
    ("stdin", "told"), [(b"", "empty"), (b" \n", "empty"), (b"ab\xff", "not UTF-8 text (byte 3)")]
)
def test_a_prompt_that_is_none_is_wrong_usage(
    server: Loopback, lmconf: Lmconf, stdin: bytes, told: str
) -> None:
    ran = lmconf("call", "lmconf", stdin=stdin)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert lmconf("call", "lmconf", "").code == 2
    assert not server.received


def test_without_a_prompt_a_terminal_is_not_waited_for(
    server: Loopback, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmconf.cli import run

    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert run(["call", "lmconf"]) == 2
    assert "There is no prompt" in capsys.readouterr().err


def test_json_tells_everything_of_the_answer(server: Loopback, lmconf: Lmconf) -> None:
    told = lmconf("call", "lmconf:b", "hi", "--json").json
    assert {
        key: told[key] for key in ("text", "lm", "model", "finish_reason", "cache_hit", "attempts")
    } == {
        "text": "Hello.",
        "lm": "lmconf:b",
        "model": "tiny",
        "finish_reason": "stop",
        "cache_hit": False,
        "attempts": 1,
    }
    assert told["usage"]["total_tokens"] == 7
    assert {"cost", "request_id", "texts", "tool_calls", "reasoning", "logprobs"} <= set(told)


def test_a_stored_answer_is_not_asked_for_again_unless_no_cache_is_said(
    server: Loopback, lmconf: Lmconf
) -> None:
    lmconf("call", "lmconf:b", "once")
    again = lmconf("call", "lmconf:b", "once", "-v")
    assert again.out == "Hello.\n"
    assert "from the cache" in again.err
    assert len(server.received) == 1
    lmconf("call", "lmconf:b", "once", "--no-cache")
    assert len(server.received) == 2


def test_verbose_tells_tokens_cost_and_time_on_standard_error(
    server: Loopback, lmconf: Lmconf
) -> None:
    priced = ("--set", "pricing={input: 1000000, output: 1000000}")
    ran = lmconf("call", "lmconf", "hi", "--verbose", *priced)
    assert ran.out == "Hello.\n"
    assert ran.err.startswith("lmconf:a (tiny), 5 + 2 tokens, $7.000000, ")


def test_streamed_pieces_are_the_answer(server: Loopback, lmconf: Lmconf) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo", " there."))))
    ran = lmconf("call", "lmconf", "hi", "--stream")
    assert ran.err == ""
    assert (ran.code, ran.out) == (0, "Hello there.\n")
    assert server.received[0].json["stream"] is True


def test_a_stream_that_breaks_leaves_its_text_and_says_so(server: Loopback, lmconf: Lmconf) -> None:
    server.answers(Reply(pieces=sse(*chat_chunks("Hel", "lo", finish=None), done=False)))
    ran = lmconf("call", "lmconf", "hi", "--stream")
    assert (ran.code, ran.out) == (3, "Hello\n")
    assert ran.err.startswith("error: lmconf:a: ")


def test_several_answers_are_printed_one_after_the_other(server: Loopback, lmconf: Lmconf) -> None:
    two = chat("One.")
    two["choices"].append({**two["choices"][0], "index": 1, "message": {"content": "Two."}})
    server.answers(two)
    assert lmconf("call", "lmconf", "hi", "--set", "n=2", "--stream").out == "One.\nTwo.\n"


def test_a_refused_call_exits_with_3_without_the_key(
    server: Loopback, lmconf: Lmconf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "opensesame")
    server.answers(Reply(status=401, json={"error": {"message": "bad key opensesame"}}))
    ran = lmconf("call", "lmconf:keyed", "hi")
    assert (ran.code, ran.out) == (3, "")
    assert "status 401" in ran.err
    assert "opensesame" not in ran.err
    assert server.received[0].header("authorization") == "Bearer opensesame"


def test_a_missing_key_is_told_with_its_line(server: Loopback, lmconf: Lmconf) -> None:
    ran = lmconf("call", "lmconf:keyed", "hi")
    assert ran.code == 3
    assert "ACME_KEY is not set" in ran.err
    assert "at lmconf.yaml:6:" in ran.err
    assert not server.received


def test_a_profile_without_a_main_lm_wants_a_name(project: Path, lmconf: Lmconf) -> None:
    (project / "two.yaml").write_text("lms: {a: {model: openai/x}, b: {model: openai/y}}\n")
    ran = lmconf("call", "two.yaml", "hi")
    assert ran.code == 1
    assert "`two.yaml:a`" in ran.err


def test_json_and_stream_exclude_each_other(server: Loopback, lmconf: Lmconf) -> None:
    ran = lmconf("call", "lmconf", "hi", "--json", "--stream")
    assert ran.code == 2
    assert "--stream cannot be combined with --json" in ran.err
