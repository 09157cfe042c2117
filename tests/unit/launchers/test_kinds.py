"""What each kind of server says of what it lacks, and what it makes of a block."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import msgspec
import pytest

from lmconf.errors import LaunchError
from lmconf.launchers import LaunchSpec, launcher
from lmconf.launchers.command import fill_placeholders
from lmconf.launchers.exit_reasons import explain_exit
from lmconf.launchers.flags import command_words, flags
from lmconf.launchers.ports import address, reserve_port
from lmconf.launchers.server_protocol import StartOptions
from lmconf.launchers.specs import Ready
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Reference
from tests.standins.kinds import working


def refused(spec: LaunchSpec, model: str = "acme/tiny") -> str:
    assert spec.use is not None
    with pytest.raises(LaunchError) as raised:
        launcher(spec.use).start(spec, model)
    return str(raised.value)


def test_a_program_that_is_missing_is_named() -> None:
    spec = LaunchSpec(use="command", command=("no-such-server", "{port}"))
    assert refused(spec) == "there is no program 'no-such-server' on the PATH"
    assert "is a folder" in refused(LaunchSpec(use="command", command=("/tmp", "{port}")))
    assert "'ollama' on the PATH" in refused(
        LaunchSpec(use="ollama", env=FrozenMap({"PATH": "/nowhere"}))
    )


def test_a_package_that_is_missing_is_named_with_the_interpreter() -> None:
    spec = LaunchSpec(use="vllm", python=sys.executable)
    assert f"{sys.executable} lacks the package vllm: pip install vllm" in refused(spec)
    assert "no Python interpreter 'pythonx'" in refused(LaunchSpec(use="vllm", python="pythonx"))


def test_ollama_pulls_what_is_missing_only_when_that_is_asked_for(tmp_path: Path) -> None:
    spec = working(tmp_path)["ollama"]
    told = refused(spec, "llama3.2")
    assert "does not have 'llama3.2': run `ollama pull llama3.2`, or say `pull: true`" in told
    pulling = msgspec.structs.replace(spec, pull=True)
    assert "file does not exist" in refused(pulling, "missing-model")
    heard: list[str] = []
    server = launcher("ollama").start(
        pulling, "llama3.2", manner=StartOptions(on_progress=heard.append)
    )
    server.stop()
    layer = "pulling 4f659a1e86d7"
    assert heard[:3] == ["pulling manifest", f"{layer} (0 %)", f"{layer} (12 %)"]
    assert "llama3.2:latest" in (tmp_path / "have").read_text()
    assert (tmp_path / "have.warm").read_text().split() == ["llama3.2"]


def test_ollama_is_told_where_to_listen_in_brackets_where_that_has_colons(tmp_path: Path) -> None:
    program = tmp_path / "ollama"
    program.write_text('#!/bin/sh\necho "at $OLLAMA_HOST"; exit 1\n')
    program.chmod(0o755)
    env: FrozenMap[str, str | Reference] = FrozenMap({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    for host, said in (("127.0.0.1", r"at 127\.0\.0\.1:\d+"), ("::1", r"at \[::1\]:\d+")):
        try:
            with reserve_port(host):
                pass
        except LaunchError:
            continue  # this machine has no such address
        with pytest.raises(LaunchError, match=said):
            launcher("ollama").start(LaunchSpec(use="ollama", host=host, env=env), "llama3.2")


def test_a_server_may_say_that_it_is_well_in_another_way(tmp_path: Path) -> None:
    spec = working(tmp_path)["command"]
    # Its list of models would have another name in it.
    other = tuple(word.replace("{model}", "another") for word in spec.command or ())
    assert "serves 'another', not 'acme/tiny'" in refused(
        msgspec.structs.replace(spec, command=other)
    )
    ready = Ready(path="/health", model=False)
    server = launcher("command").start(
        msgspec.structs.replace(spec, command=other, ready=ready), "acme/tiny"
    )
    assert server.status() == "running"
    server.stop()


def test_places_in_a_command_stay_one_word_each() -> None:
    values = {"port": "1", "host": "h", "model": "a b; {port}", "weights": "w"}
    assert fill_placeholders(("x", "--p={port}", "{model}", "{other}"), values) == (
        "x",
        "--p=1",
        "a b; {port}",
        "{other}",
    )


def test_arguments_become_words() -> None:
    known = flags(switch="quick", toggle="eager", integer="n", list="names", value="config")
    args = {"quick": True, "eager": False, "n": -1, "names": ["a", "b"], "config": {"k": 1}}
    assert command_words("acme", args, known, str) == (
        "--quick",
        "--no-eager",
        "--n=-1",
        "--names",
        "a",
        "b",
        '--config={"k":1}',
    )
    assert command_words("acme", {"quick": False}, known, str) == ()
    with pytest.raises(LaunchError, match="acme has no argument 'quik'; did you mean 'quick'"):
        command_words("acme", {"quik": True}, known, str)
    with pytest.raises(LaunchError, match="'n' must be a whole number"):
        command_words("acme", {"n": "many"}, known, str)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is let go of")
@pytest.mark.parametrize("option", [socket.SO_REUSEADDR, getattr(socket, "SO_REUSEPORT", 0)])
def test_a_reserved_port_is_given_to_nobody_but_can_be_listened_on(option: int) -> None:
    with reserve_port("127.0.0.1") as port, socket.socket() as server:
        with socket.socket() as rude, pytest.raises(OSError):
            rude.bind(("127.0.0.1", port))
        server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            accepted, client = server.accept()
            accepted.close()
            assert client[0] == "127.0.0.1"


def test_a_server_that_listens_everywhere_is_asked_on_loopback() -> None:
    assert address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert address("::", 80) == "http://[::1]:80"
    assert address("::1", 80) == "http://[::1]:80"
    assert address("localhost", 80) == "http://localhost:80"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried", "too little memory"),
        ("OSError: [Errno 98] error while attempting: address already in use", "port is taken"),
        ("ModuleNotFoundError: No module named 'uvicorn'", "lacks the module uvicorn"),
        ("error: unrecognized arguments: --brand-new 3", "does not know --brand-new"),
        ("OSError: x is not a local folder and is not a valid model identifier", "cannot load"),
        ("tensor 'a' data is not within the file bounds, model is", "cut short or damaged"),
        ("gguf_init_from_reader: failed to read key-value pairs", "cut short or damaged"),
        (
            "(EngineCore) ERROR [core.py:1] ValueError: max_model_len is too large\nRuntimeError:"
            " Engine core initialization failed. See root cause above.",
            "ValueError: max_model_len is too large",
        ),
        ("success", ""),
    ],
)
def test_the_end_of_a_log_says_why(log: str, said: str) -> None:
    assert said in explain_exit(log) if said else explain_exit(log) == ""


def test_an_end_was_killed_hints_at_memory() -> None:
    assert "memory runs out" in explain_exit("", was_killed=True)
    assert explain_exit("RuntimeError: no GPU\nkilled", was_killed=True) == "RuntimeError: no GPU"
