"""`lmconf batch`, in this process, against a server on loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback, Received, Reply, chat, serving
from tests.unit.cli.running import Lmconf

ROOT = Path(__file__).parents[3]


def answer(received: Received) -> Reply:
    """Say the prompt back; refuse `bad` and `no key`, and take long for `slow`."""
    prompt = received.json["messages"][-1]["content"]
    status = {"bad": 400, "no key": 401}.get(prompt)
    if status:
        return Reply(status=status, json={"error": {"message": f"refused {prompt}"}})
    pause = {"slow": 0.3, "very slow": 20.0}.get(prompt, 0.0)
    return Reply(json=chat(f"<{prompt}>"), pause=pause)


@pytest.fixture
def server(project: Path) -> Iterator[Loopback]:
    """A server, and an lmconf.yaml whose LM it answers for."""
    with serving() as running:
        running.script = answer
        (project / "lmconf.yaml").write_text(
            f"{{model: openai/tiny, api_base: '{running.v1}', api_key: '', num_retries: 0,"
            " cache: false, temperature: 0.5}\n"
        )
        yield running


def write(project: Path, *items: object) -> str:
    """Write the input and return its name."""
    text = "".join(f"{json.dumps(item)}\n" for item in items)
    (project / "in.jsonl").write_text(text)
    return "in.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results(path: Path) -> list[tuple[int, str]]:
    return [(line["index"], line.get("text") or line["error"]["type"]) for line in lines(path)]


def prompts(server: Loopback) -> list[str]:
    return [received.json["messages"][-1]["content"] for received in server.received]


def test_every_line_is_answered_in_order(server: Loopback, lmconf: Lmconf, project: Path) -> None:
    said = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "c"}]
    source = write(
        project, "slow", {"prompt": "b", "temperature": 1}, {"messages": said}, said, "Grüße"
    )
    ran = lmconf("batch", "lmconf", source, "-o", "out.jsonl")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "wrote out.jsonl: 5 answered\n"
    out = project / "out.jsonl"
    told = ["<slow>", "<b>", "<c>", "<c>", "<Grüße>"]
    assert results(out) == list(enumerate(told))
    sent = {r.json["messages"][-1]["content"]: r.json["temperature"] for r in server.received}
    assert sent == {"slow": 0.5, "b": 1, "c": 0.5, "Grüße": 0.5}
    first = lines(out)[0]
    assert (first["usage"]["total_tokens"], first["attempts"], first["cache_hit"]) == (7, 1, False)


def test_without_a_file_the_lines_go_to_standard_output_in_order(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    ran = lmconf("batch", "lmconf", "-", stdin='\n"slow"\n\n"b"\r\n'.encode("utf-8-sig"))
    assert ran.code == 0
    assert [json.loads(line)["text"] for line in ran.out.splitlines()] == ["<slow>", "<b>"]
    assert ran.err == "2 answered\n"


def test_every_wrong_line_is_told_with_its_number_and_nothing_is_sent(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    (project / "in.jsonl").write_bytes(
        b'"good"\n{"prompt": }\n\n3\n{"prompt": "a", "temprature": 1}\n"\xff"\n{"n": 1}\n'
        b'{"prompt": "a", "model": "openai/x"}\n{"role": "user", "content": "a"}\n[]\n'
    )
    ran = lmconf("batch", "lmconf", "in.jsonl", "-o", "out.jsonl")
    assert (ran.code, ran.out) == (1, "")
    told = ran.err.splitlines()
    assert told[0] == "error: in.jsonl: 8 lines are invalid; nothing was sent"
    assert [line.partition(":")[0] for line in told[1:]] == [
        f"  line {number}" for number in (2, 4, 5, 6, 7, 8, 9, 10)
    ]
    assert told[1] == "  line 2: it is not JSON: invalid character (byte 11)"
    assert "did you mean `temperature`" in told[3]
    assert not server.received
    assert not (project / "out.jsonl").exists()


def test_a_line_that_fails_loses_none_of_the_others_and_exits_with_3(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    ran = lmconf("batch", "lmconf", write(project, "a", "bad", "c"), "-o", "out.jsonl")
    assert ran.code == 3
    assert ran.err.startswith("wrote out.jsonl: 2 answered, 1 failed\n  line 2: BadRequest: ")
    assert results(project / "out.jsonl") == [(0, "<a>"), (1, "BadRequest"), (2, "<c>")]
    error = lines(project / "out.jsonl")[1]["error"]
    assert (error["status"], error["attempts"]) == (400, 1)


def test_after_a_refused_key_no_more_are_sent_and_each_line_says_so(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    source = write(project, "a", "no key", *map(str, range(20)))
    ran = lmconf("batch", "lmconf", source, "-o", "out.jsonl", "--max-concurrency", "1")
    assert ran.code == 3
    assert prompts(server) == ["a", "no key"]
    kinds = [kind for _, kind in results(project / "out.jsonl")]
    assert kinds == ["<a>", "AuthenticationFailed", *["NotSent"] * 20]
    assert "and 18 more" in ran.err


def test_resume_asks_what_has_no_answer_yet(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    out = project / "out.jsonl"
    lmconf("batch", "lmconf", write(project, "a", "bad", "c", "d"), "-o", "out.jsonl")
    whole = out.read_text().splitlines(keepends=True)
    # The last line was cut short when the program was killed.
    out.write_text("".join(whole[:3]) + whole[3][:20])
    server.received.clear()
    source = write(project, "a", "mended", "changed", "d")
    ran = lmconf("batch", "lmconf", source, "-o", "out.jsonl", "--resume")
    assert (ran.code, ran.err) == (
        0,
        "wrote out.jsonl: 3 answered, 1 there already\n"
        "2 of its rows no longer match a line of in.jsonl: moved to out.jsonl.unmatched\n",
    )
    assert (project / "out.jsonl.unmatched").read_text() == "".join(whole[1:3])
    assert sorted(prompts(server)) == ["changed", "d", "mended"]
    assert results(out) == [(0, "<a>"), (1, "<mended>"), (2, "<changed>"), (3, "<d>")]
    assert out.read_text().startswith(whole[0])
    server.received.clear()
    again = lmconf("batch", "lmconf", source, "-o", "out.jsonl", "--resume")
    assert again.err == "wrote out.jsonl: 0 answered, 4 there already\n"
    assert not server.received


def test_resume_without_a_file_begins_one(server: Loopback, lmconf: Lmconf, project: Path) -> None:
    lmconf("batch", "lmconf", write(project, "a"), "-o", "out.jsonl", "--resume")
    assert results(project / "out.jsonl") == [(0, "<a>")]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-o", "there.jsonl"], "there.jsonl already exists: --resume adds"),
        (["-o", "in.jsonl", "--force"], "in.jsonl is the input"),
        (["--resume"], "--resume has no meaning without -o FILE"),
        (["--force"], "--force has no meaning"),
        (["-o", "x", "--force", "--resume"], "use one of them"),
        (["--max-concurrency", "0"], "--max-concurrency"),
    ],
)
def test_wrong_usage_is_told_and_writes_nothing(
    server: Loopback, lmconf: Lmconf, project: Path, arguments: list[str], told: str
) -> None:
    (project / "there.jsonl").write_text("precious\n")
    ran = lmconf("batch", "lmconf", write(project, "a"), *arguments)
    assert ran.code == 2
    assert told in ran.err
    assert not server.received
    assert (project / "there.jsonl").read_text() == "precious\n"


def test_force_replaces_and_a_file_that_cannot_be_read_or_written_is_told(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    source = write(project, "a")
    (project / "there.jsonl").write_text("old\n")
    assert lmconf("batch", "lmconf", source, "-o", "there.jsonl", "--force").code == 0
    assert results(project / "there.jsonl") == [(0, "<a>")]
    server.received.clear()
    ran = lmconf("batch", "lmconf", "none.jsonl")
    assert (ran.code, ran.err) == (1, "error: none.jsonl: no such file or directory\n")
    ran = lmconf("batch", "lmconf", source, "-o", "nowhere/out.jsonl")
    assert ran.code == 1
    assert "nowhere/out.jsonl cannot be written" in ran.err
    assert not server.received


def test_what_is_asked_twice_is_answered_from_the_cache_unless_no_cache_is_said(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    source = write(project, "a", "b")
    kept = ("--set", "cache=true")
    lmconf("batch", "lmconf", source, *kept)
    again = lmconf("batch", "lmconf", source, *kept)
    assert [json.loads(line)["cache_hit"] for line in again.out.splitlines()] == [True, True]
    assert len(server.received) == 2
    lmconf("batch", "lmconf", source, "--no-cache", *kept)
    assert len(server.received) == 4


def test_answers_that_were_cut_short_are_counted(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    server.script = lambda _: Reply(json=chat("half of", finish_reason="length"))
    ran = lmconf("batch", "lmconf", write(project, "a", "b"), "-o", "out.jsonl")
    assert ran.code == 0
    assert ran.err == "wrote out.jsonl: 2 answered (2 truncated by `max_tokens`)\n"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_at_once_and_keeps_what_was_answered(
    server: Loopback, project: Path, number: signal.Signals, code: int
) -> None:
    source = write(project, "very slow", *map(str, range(6)), *["very slow"] * 30)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-m", "lmconf", "batch", "lmconf", source, "-o", "out.jsonl",
         "--max-concurrency", "4"],
        env=environment, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        until = time.monotonic() + 60
        while len(server.received) < 10 and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(0.2)
        begun = time.monotonic()
        child.send_signal(number)
        _, told = child.communicate(timeout=30)
    assert child.returncode == code
    assert time.monotonic() - begun < 10
    assert told == (
        "stopped: 6 answers are kept in out.jsonl; continue with:"
        " lmconf batch lmconf in.jsonl -o out.jsonl --max-concurrency 4 --resume\n"
        + ("interrupted\n" if number == signal.SIGINT else "")
    )
    assert results(project / "out.jsonl") == [(n, f"<{n - 1}>") for n in range(1, 7)]
