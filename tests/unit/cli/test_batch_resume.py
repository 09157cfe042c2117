"""`lmconf batch --resume` loses no answer, mixes no settings, and touches no file of others."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmconf.cli import run
from tests.loopback import Loopback, Received, Reply, chat, serving
from tests.unit.cli.running import Lmconf

ROOT = Path(__file__).parents[3]
OUT = ("-o", "out.jsonl")


class Numbered:
    """A script for a server: no two of its answers are alike, so that none is taken for another."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.down = False
        self.count = 0

    def __call__(self, received: Received) -> Reply:
        body = received.json
        prompt = body["messages"][-1]["content"]
        if self.down:
            return Reply(status=503, json={"error": {"message": "down"}})
        if prompt in self.failing:
            return Reply(status=400, json={"error": {"message": f"refused {prompt}"}})
        self.count += 1
        return Reply(json=chat(f"{prompt}|{body['temperature']}|{self.count}"))


@pytest.fixture
def script() -> Numbered:
    return Numbered()


def profile(base: str, **more: Any) -> str:
    said = {"model": "openai/tiny", "api_base": base, "api_key": "", "num_retries": 0}
    return json.dumps({**said, "cache": False, "temperature": 0.0, **more})


@pytest.fixture
def server(project: Path, script: Numbered) -> Iterator[Loopback]:
    with serving() as running:
        running.script = script
        (project / "lmconf.yaml").write_text(profile(running.v1))
        yield running


def write(folder: Path, *items: object) -> None:
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def answers(path: Path) -> list[str]:
    return [row["text"] for row in rows(path) if "text" in row]


def prompts(server: Loopback) -> list[str]:
    return [received.json["messages"][-1]["content"] for received in server.received]


def begun(lmconf: Lmconf, server: Loopback, project: Path, *items: object) -> bytes:
    """Ask `items`, and return the output as it stands."""
    write(project, *items)
    lmconf("batch", "lmconf", "in.jsonl", *OUT)
    server.received.clear()
    return (project / "out.jsonl").read_bytes()


def resumed(lmconf: Lmconf, *arguments: str, name: str = "lmconf") -> Any:
    return lmconf("batch", name, "in.jsonl", *OUT, "--resume", *arguments)


# --- what was asked -------------------------------------------------------------------------------

CHANGES: dict[str, tuple[tuple[str, ...], str]] = {
    "temperature": (("--set", "temperature=0.7"), "temperature 0.0 → 0.7"),
    "model": (("--set", "model=openai/other"), "model openai/tiny → openai/other"),
    "something unset": (("--set", "seed=3"), "seed unset → 3"),
    "two": (("--set", "top_p=0.5", "--set", "n=2"), "n unset → 2, top_p unset → 0.5"),
    "a list": (("--set", "stop=[x]"), "stop changed"),
    "tools": (("--set", "tools=[{type: function, function: {name: f}}]"), "tools changed"),
    "the body": (("--set", "extra={top_k: 4}"), "extra changed"),
    "a header": (("--set", "headers={X-Tenant: b}"), "headers changed"),
    "a rollout": (("--set", "rollout_id=7"), "rollout_id unset → 7"),
    "an address": (("--set", "api_base=http://127.0.0.1:9/v1"), "address http://127.0.0.1:"),
}


@pytest.mark.parametrize(("arguments", "told"), CHANGES.values(), ids=CHANGES)
def test_a_changed_setting_is_refused_by_name_and_force_starts_over(
    server: Loopback, lmconf: Lmconf, project: Path, arguments: tuple[str, ...], told: str
) -> None:
    before = begun(lmconf, server, project, "a", "b")
    ran = resumed(lmconf, *arguments)
    assert ran.code == 2
    assert f"out.jsonl: 2 answers used other settings: {told}" in ran.err
    assert "--force" in ran.err
    assert not server.received
    assert (project / "out.jsonl").read_bytes() == before
    assert lmconf("batch", "lmconf", "in.jsonl", *OUT, "--force", "--set", "seed=9").code == 0
    assert rows(project / "out.jsonl")[0]["asked"]["seed"] == 9


def test_another_profile_is_refused_and_its_equal_is_not(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    begun(lmconf, server, project, "a")
    (project / "profiles/same.yaml").write_text(profile(server.v1, deadline="1min"))
    (project / "profiles/other.yaml").write_text(profile(server.v1, temperature=1))
    (project / "profiles/elsewhere.yaml").write_text(profile(f"{server.url}/v2"))
    assert resumed(lmconf, name="same").code == 0
    assert "temperature 0.0 → 1.0" in resumed(lmconf, name="other").err
    assert "/v1 → http" in resumed(lmconf, name="elsewhere").err
    assert not server.received


def test_another_value_of_a_variable_is_refused_and_neither_is_told(
    server: Loopback, lmconf: Lmconf, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "lmconf.yaml").write_text(
        profile(server.v1, headers={"X-Tenant": {"$env": "TENANT"}, "X-Key": {"$env": "A_TOKEN"}})
    )
    monkeypatch.setenv("A_TOKEN", "secret-1")
    monkeypatch.setenv("TENANT", "acme-one")
    begun(lmconf, server, project, "a")
    monkeypatch.setenv("A_TOKEN", "secret-2")
    assert resumed(lmconf).code == 0, "a new key is no other question"
    monkeypatch.setenv("TENANT", "acme-two")
    ran = resumed(lmconf)
    assert (ran.code, "headers changed" in ran.err) == (2, True)
    told = (project / "out.jsonl").read_text() + ran.err
    assert not any(word in told for word in ("acme-one", "acme-two", "secret-1", "secret-2"))


def test_a_fingerprint_is_the_same_in_every_process_and_tells_rows_apart(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    begun(lmconf, server, project, "a", {"prompt": "a", "seed": 1}, "b")
    first = [row["fingerprint"] for row in rows(project / "out.jsonl")]
    command = [sys.executable, "-m", "lmconf", "batch", "lmconf", "in.jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True, timeout=120)
    assert [json.loads(line)["fingerprint"] for line in done.stdout.splitlines()] == first
    assert len(set(first)) == 3


# --- which row belongs to which line --------------------------------------------------------------


def test_rows_follow_their_lines_wherever_these_stand(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    letters = [chr(number) for number in range(ord("a"), ord("u"))]
    begun(lmconf, server, project, *letters)
    before = answers(project / "out.jsonl")
    write(project, *letters[1:])
    ran = resumed(lmconf)
    assert (ran.code, prompts(server)) == (0, [])
    assert answers(project / "out.jsonl") == before[1:]
    assert answers(project / "out.jsonl.unmatched") == before[:1]
    assert "1 of its rows no longer match a line" in ran.err
    write(project, "new", *reversed(letters[1:]), "last")
    assert resumed(lmconf).code == 0
    assert sorted(prompts(server)) == ["last", "new"]
    found = rows(project / "out.jsonl")
    assert [row["index"] for row in found] == [*range(21)]
    assert [row["text"] for row in found[1:-1]] == before[:0:-1]


def test_each_of_equal_lines_has_a_row_of_its_own(
    server: Loopback, lmconf: Lmconf, project: Path, script: Numbered
) -> None:
    begun(lmconf, server, project, "a", "a", "b")
    before = answers(project / "out.jsonl")
    write(project, "b", "a", "a", "a")
    assert resumed(lmconf).code == 0
    assert prompts(server) == ["a"]
    found = answers(project / "out.jsonl")
    assert (found[0], found[1:3]) == (before[2], before[:2])


def test_a_second_resume_sends_nothing_and_leaves_the_file_as_it_is(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    begun(lmconf, server, project, "a", {"prompt": "b", "temperature": 1}, "ü\u2028")
    out = project / "out.jsonl"
    before = (out.read_bytes(), out.stat().st_mtime_ns, out.stat().st_ino)
    for _ in range(2):
        assert resumed(lmconf).code == 0
        assert (out.read_bytes(), out.stat().st_mtime_ns, out.stat().st_ino) == before
    assert not server.received


def test_with_another_input_nothing_is_asked_and_nothing_is_lost(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    before = begun(lmconf, server, project, "a", "b")
    write(project, "c", "d")
    ran = resumed(lmconf)
    assert ran.code == 2
    assert "holds 2 rows, and none of them is an answer to a line of in.jsonl" in ran.err
    assert not server.received
    assert (project / "out.jsonl").read_bytes() == before


def test_with_the_server_down_answers_stay_and_errors_are_asked_again(
    server: Loopback, lmconf: Lmconf, project: Path, script: Numbered
) -> None:
    script.failing = {"b"}
    begun(lmconf, server, project, "a", "b", "c")
    before = rows(project / "out.jsonl")
    script.down = True
    assert resumed(lmconf).code == 3
    assert prompts(server) == ["b"]
    found = rows(project / "out.jsonl")
    assert [found[0], found[2]] == [before[0], before[2]]
    assert found[1]["error"]["type"] == "ServerError"
    script.down, script.failing = False, set()
    assert resumed(lmconf).code == 0
    assert [row["index"] for row in rows(project / "out.jsonl")] == [0, 1, 2]


# --- files of others ------------------------------------------------------------------------------

ROW = {"index": 0, "input": "x", "text": "y"}
FOREIGN: dict[str, bytes] = {
    "notes": b"precious\n",
    "notes without a line end": b"precious",
    "a JSON document": b'{\n  "a": 1\n}\n',
    "rows of another program": b'{"index": 0, "text": "a"}\n',
    "nested deeply": b"[" * 100_000 + b"\n",
    "a number": b"3\n",
    "bytes": bytes(range(256)),
    "rows, and then notes": json.dumps(
        {**ROW, "fingerprint": "f", "asked": {}}
    ).encode() + b"\nprecious\n",
    "an earlier version's": json.dumps(ROW).encode() + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("arguments", [(), ("--resume",)], ids=["", "resume"])
def test_a_file_of_others_is_left_as_it_is(
    server: Loopback, lmconf: Lmconf, project: Path, content: bytes, arguments: tuple[str, ...]
) -> None:
    write(project, "a")
    (project / "out.jsonl").write_bytes(content)
    ran = lmconf("batch", "lmconf", "in.jsonl", *OUT, *arguments)
    assert ran.code == 2
    assert "out.jsonl" in ran.err
    assert "--force" in ran.err
    assert (project / "out.jsonl").read_bytes() == content
    assert not server.received


def test_a_file_of_others_beside_it_is_left_as_it_is(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    before = begun(lmconf, server, project, "a", "b")
    (project / "out.jsonl.unmatched").write_text("precious\n")
    write(project, "a", "c")
    ran = resumed(lmconf)
    assert (ran.code, "out.jsonl.unmatched is not the output" in ran.err) == (2, True)
    assert (project / "out.jsonl.unmatched").read_text() == "precious\n"
    assert (project / "out.jsonl").read_bytes() == before
    assert not server.received


@pytest.mark.parametrize("flag", ["--resume", "--force"])
@pytest.mark.parametrize("kind", ["folder", "device", "pipe", "dash", "link to the input", "input"])
def test_what_is_no_file_of_its_own_is_no_output(
    server: Loopback, lmconf: Lmconf, project: Path, kind: str, flag: str
) -> None:
    write(project, "a")
    path = project / "out"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/null")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dash":
        path = Path("-")
    elif kind == "input":
        path = project / "in.jsonl"
    else:
        path.symlink_to(project / "in.jsonl")
    ran = lmconf("batch", "lmconf", "in.jsonl", "-o", str(path), flag)
    assert ran.code == 2
    assert not server.received
    assert (project / "in.jsonl").read_text() == '"a"\n'
    assert kind == "dash" or path.exists()


def test_an_output_behind_a_link_stays_behind_it(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    (project / "out.jsonl").symlink_to(project / "real.jsonl")
    begun(lmconf, server, project, "a")
    assert (project / "out.jsonl").is_symlink()
    assert resumed(lmconf).code == 0
    assert len(answers(project / "real.jsonl")) == 1


# --- malformed lines ------------------------------------------------------------------------------

LINES: dict[str, tuple[bytes, str]] = {
    "no prompt": (b'{"temperature": 1}', "give a prompt"),
    "nothing": (b"{}", "give a prompt"),
    "nested deeply": (b"[" * 100_000, "nested more than 64 deep"),
    "nested and closed": (b"[" * 500 + b"]" * 500, "nested more than 64 deep"),
    "a deep prompt": (b'{"messages": ' + b"[" * 99_999 + b"]" * 99_999 + b"}", "nested more than"),
    "a deep setting": (
        b'{"prompt": "a", "extra": ' + b'{"a": ' * 70 + b"1" + b"}" * 70 + b"}",
        "nested more than",
    ),
    "a key twice": (b'{"prompt": "a", "prompt": "b"}', "`prompt` occurs twice"),
    "a key twice within": (b'{"prompt": "a", "extra": {"x": 1, "x": 2}}', "`x` occurs twice"),
    "NaN": (b'{"prompt": "a", "temperature": NaN}', "not JSON"),
    "a number out of range": (b'{"prompt": "a", "temperature": 1e999}', "not JSON"),
    "a number of 6,000 digits": (b'{"prompt": "a", "seed": ' + b"9" * 6000 + b"}", "not JSON"),
    "half a character": (b'"\xc3"', "not UTF-8"),
    "a store": (
        b'{"prompt": "a", "cache": {"store": {"backend": "disk", "path": "x"}}}',
        "`cache` of an input is `true` or `false`",
    ),
    "a store's place": (b'{"prompt": "a", "cache": {"namespace": "b"}}', "`cache` of an input"),
    "retries": (b'{"prompt": "a", "retry": {"max": 5}}', "`retry` belongs to the LM: an input may"),
    "an address": (b'{"prompt": "a", "api_base": "http://x"}', "may state cache, cache_in_memory"),
    "a callback": (b'{"prompt": "a", "callbacks": ["x"]}', "`callbacks` belongs to the LM"),
    "a server": (b'{"prompt": "a", "launch_kwargs": {}}', "`launch_kwargs` belongs to the LM"),
    "a transport": (b'{"prompt": "a", "transport": "x"}', "`transport` belongs to the LM"),
    "a reference": (b'{"prompt": "a", "headers": {"X": {"$env": "HOME"}}}', "lmconf.Env(…)"),
    "a split header": (b'{"prompt": "a", "headers": {"X": "a\\r\\nY: b"}}', "control"),
}


@pytest.mark.parametrize(("line", "told"), LINES.values(), ids=LINES)
def test_a_malformed_line_is_one_clear_error_and_nothing_is_sent(
    server: Loopback, lmconf: Lmconf, project: Path, line: bytes, told: str
) -> None:
    (project / "in.jsonl").write_bytes(b'"good"\n' + line + b"\n")
    ran = lmconf("batch", "lmconf", "in.jsonl", *OUT)
    assert ran.code == 1
    assert ran.err.startswith("error: in.jsonl: 1 line is invalid; nothing was sent\n  line 2")
    assert told in ran.err
    assert len(ran.err) < 2_000
    assert not server.received
    assert not (project / "out.jsonl").exists()


def test_an_answer_with_half_a_character_is_kept(
    server: Loopback, lmconf: Lmconf, project: Path
) -> None:
    server.script = lambda _: Reply(body=json.dumps(chat("\ud83d")).encode())
    begun(lmconf, server, project, "a")
    assert resumed(lmconf).code == 0
    assert not server.received


# --- any sequence ---------------------------------------------------------------------------------

LETTERS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), LETTERS),
        st.tuples(st.just("set"), st.sampled_from([0.0, 0.5])),
        st.tuples(st.just("fail"), st.sets(st.sampled_from("abcdef"))),
        st.tuples(st.just("down"), st.booleans()),
        st.tuples(st.just("kill"), st.integers(1, 300)),
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS)
def test_no_sequence_loses_an_answer_or_mixes_settings(
    steps: list[tuple[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, script = tmp_path_factory.mktemp("batch"), Numbered()
    out, aside = folder / "out.jsonl", folder / "out.jsonl.unmatched"
    lines, temperature = ["a", "b", "c"], 0.0
    ever: set[str] = set()
    with serving() as server:
        server.script = script
        for kind, value in [("begin", None), *steps, ("end", None)]:
            if kind == "edit":
                lines = value
            elif kind == "set":
                temperature = value
            elif kind == "fail":
                script.failing = value
            elif kind == "down":
                script.down = value
            elif kind == "kill" and out.exists():
                # The last row was being written; it was never acknowledged.
                *whole, last = out.read_bytes().splitlines(keepends=True) or [b""]
                ever.discard(whole_row(last).get("text", ""))
                out.write_bytes(b"".join(whole) + last[: -min(value, len(last)) or None])
            write(folder, *lines)
            (folder / "p.json").write_text(profile(server.v1, temperature=temperature))
            server.received.clear()
            held = Counter(text.split("|")[0] for text in answers_whole(out))
            command = ["batch", str(folder / "p.json"), str(folder / "in.jsonl"), "-o", str(out)]
            code = run([*command, "--resume"])
            if code == 2:  # refused by name: nothing was asked, nothing was touched
                assert not server.received
                assert ever <= {*answers_whole(out), *answers(aside)}
                continue
            texts = answers(out)
            assert len({text.split("|")[1] for text in texts}) <= 1
            assert ever <= {*texts, *answers(aside)}
            for row in rows(out):
                assert row.get("text", lines[row["index"]]).split("|")[0] == lines[row["index"]]
            asked = Counter(prompts(server))
            assert all(asked[each] <= max(0, lines.count(each) - held[each]) for each in asked)
            assert (code == 0) is (len(texts) == len(lines))
            ever |= {*texts}


def answers_whole(path: Path) -> list[str]:
    """Return the answers in `path`, whose last line may have been torn."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [row["text"] for row in map(whole_row, lines) if "text" in row]


def whole_row(line: bytes) -> dict[str, Any]:
    """Return what a line says, nothing where it was torn."""
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return said


# --- real processes, killed -----------------------------------------------------------------------


@pytest.mark.slow
def test_a_batch_that_is_killed_loses_nothing_that_was_written(
    server: Loopback, project: Path, script: Numbered
) -> None:
    server.script = lambda received: Reply(json=script(received).json, pause=0.02)
    write(project, *(f"prompt {number}" for number in range(60)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lmconf", "batch", "lmconf", "in.jsonl", *OUT, "--resume"]
    out, ever, draw = project / "out.jsonl", set[str](), random.Random(7)
    for _ in range(4):
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as child:
            enough, until = len(ever) + draw.randint(3, 14), time.monotonic() + 60
            while len(answers_whole(out)) < enough and time.monotonic() < until:
                if child.poll() is not None:
                    break
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=30)
        now = {*answers_whole(out)}
        assert ever <= now
        ever = now
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    found = rows(out)
    assert ever <= {row["text"] for row in found}
    assert [row["index"] for row in found] == [*range(60)]
    assert all(row["text"].startswith(f"prompt {row['index']}|") for row in found)
