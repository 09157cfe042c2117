"""What holds for every kind of server that can be started, with the real servers."""

from __future__ import annotations

import http.client
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from lmconf.errors import LaunchError
from lmconf.launchers import KINDS, LaunchSpec, launcher
from lmconf.launchers.server_protocol import Server
from lmconf.runtime.server import LaunchedServer
from lmconf.schema.frozen import FrozenMap
from tests.standins.kinds import KEYED, LOADS_A_FILE, TINY, UNLISTED, working
from tests.unit.launchers.scripted import of_session, until
from tests.watching import alive

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("LMCONF_KILLS", "3"))
"""How often an owner is killed; nightly runs say more."""


def test_every_kind_is_tried_here(tmp_path: Path) -> None:
    assert set(working(tmp_path)) == set(KINDS)


@pytest.fixture(params=sorted(KINDS))
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> LaunchSpec:
    return working(tmp_path)[request.param]


@pytest.fixture
def server(spec: LaunchSpec) -> Iterator[Server]:
    started = start(spec)
    yield started
    started.stop()


def start(spec: LaunchSpec, model: str = "acme/tiny") -> Server:
    assert spec.use is not None
    return launcher(spec.use).start(spec, model)


def ask(server: Server, path: str, body: object = None, key: str = "") -> tuple[int, bytes]:
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    data = None if body is None else json.dumps(body)
    connection.request("GET" if data is None else "POST", path, data, headers)
    reply = connection.getresponse()
    answer = (reply.status, reply.read())
    connection.close()
    return answer


def question(model: str) -> dict[str, object]:
    said = [{"role": "user", "content": "Say this is a test!"}]
    return {"model": model, "messages": said, "temperature": 0}


def listening(port: int | None) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_it_answers_under_the_name_it_was_given(spec: LaunchSpec, server: Server) -> None:
    if spec.use not in UNLISTED:
        status, body = ask(server, "/v1/models")
        assert status == 200
        named = [model["id"].removesuffix(":latest") for model in json.loads(body)["data"]]
        assert "acme/tiny" in named
    status, body = ask(server, "/v1/chat/completions", question(server.model))
    assert status == 200
    assert json.loads(body)["choices"][0]["message"]["content"] == "This is a test!"


def test_it_listens_on_loopback_only(server: Server) -> None:
    place = urlsplit(server.url)
    assert place.hostname == "127.0.0.1"
    # A server that listens everywhere would answer here, too.
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect(("127.0.0.2", place.port))


def test_stopping_frees_the_port_and_ends_the_process(server: Server) -> None:
    pid, port = server.pid, urlsplit(server.url).port
    server.stop()
    server.stop()
    assert server.status() == "stopped"
    assert not alive(pid)
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_two_at_once_have_ports_of_their_own(spec: LaunchSpec, server: Server) -> None:
    other = start(spec)
    try:
        assert other.url != server.url
        assert other.pid != server.pid
    finally:
        other.stop()


def test_a_stated_port_is_taken(spec: LaunchSpec) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = start(msgspec.structs.replace(spec, port=port))
    try:
        assert server.url == f"http://127.0.0.1:{port}"
        with pytest.raises(LaunchError, match=f"port {port} on 127.0.0.1 is taken"):
            start(msgspec.structs.replace(spec, port=port))
        assert server.status() == "running"
    finally:
        server.stop()


def test_missing_weights_are_named(spec: LaunchSpec, tmp_path: Path) -> None:
    if spec.use not in LOADS_A_FILE:
        pytest.skip("only the server itself knows its weights")
    missing = tmp_path / "none.gguf"
    with pytest.raises(LaunchError, match=r"none\.gguf does not exist"):
        start(msgspec.structs.replace(spec, weights=str(missing)))


def test_broken_weights_end_in_an_error_that_shows_the_log(
    spec: LaunchSpec, tmp_path: Path
) -> None:
    if spec.use == "ollama":
        pytest.skip("it loads no file")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(TINY.read_bytes()[:20_000])
    begun = time.monotonic()
    with pytest.raises(LaunchError, match=r"ended with status[\s\S]*cannot|could not"):
        start(msgspec.structs.replace(spec, weights=str(broken)))
    assert time.monotonic() - begun < 20


def test_a_host_that_is_none_of_this_machine_is_named(spec: LaunchSpec) -> None:
    with pytest.raises(LaunchError, match=r"192\.0\.2\.1: Cannot assign"):
        start(msgspec.structs.replace(spec, host="192.0.2.1"))


def test_the_log_and_its_folder_are_private(server: Server) -> None:
    assert server.log.stat().st_mode & 0o777 == 0o600
    assert server.log.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_of_the_running_server_is_in_the_spec(spec: LaunchSpec) -> None:
    before = msgspec.structs.asdict(spec)
    server = start(spec)
    server.stop()
    assert msgspec.structs.asdict(spec) == before
    assert spec.port == 0


def own_processes() -> dict[int, bytes]:
    """The command lines of all processes of this machine."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, check=True
    ).stdout
    split = (line.strip().split(None, 1) for line in listed.splitlines())
    return {int(words[0]): words[-1] for words in split if words}


@pytest.mark.parametrize("kind", sorted(KEYED))
def test_a_key_is_asked_for_and_shown_nowhere(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVER_KEY", "blue-moon-4711")
    spec = working(tmp_path)[kind]
    keyed = msgspec.structs.replace(spec, args=FrozenMap({**spec.args, **KEYED[kind]}))
    server = start(keyed)
    try:
        assert ask(server, "/v1/chat/completions", question("acme/tiny"))[0] == 401
        assert (
            ask(server, "/v1/chat/completions", question("acme/tiny"), "blue-moon-4711")[0] == 200
        )
        commands = own_processes()
        assert server.pid in commands
        assert not [line for line in commands.values() if b"blue-moon" in line]
        assert "blue-moon" not in repr(server)
        for file in server.log.parent.iterdir():
            assert b"blue-moon" not in file.read_bytes()
    finally:
        server.stop()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_its_environment_is_scrubbed(spec: LaunchSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PRIVATE_THING", "hush")
    server = start(msgspec.structs.replace(spec, env=FrozenMap({**spec.env, "ADDED": "yes"})))
    try:
        seen = Path(f"/proc/{server.pid}/environ").read_bytes().split(b"\0")
        assert b"ADDED=yes" in seen
        assert not [entry for entry in seen if b"hush" in entry]
    finally:
        server.stop()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 imports from its folder")
def test_files_in_the_folder_where_it_starts_are_not_imported(
    spec: LaunchSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if spec.use == "command":
        pytest.skip("its command says what it imports")
    for name in ("vllm", "sglang", "transformers", "xllamacpp", "json", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported from the wrong folder')")
    monkeypatch.chdir(tmp_path)
    start(spec).stop()
    if spec.use in KEYED:
        monkeypatch.setenv("SERVER_KEY", "blue-moon-4711")
        keyed = FrozenMap({**spec.args, **KEYED[spec.use]})
        start(msgspec.structs.replace(spec, args=keyed)).stop()


OWNER = """
import pickle, sys, time
sys.path.insert(0, {root!r})
from lmconf.launchers import launcher
spec = pickle.loads({spec!r})
server = launcher(spec.use).start(spec, "acme/tiny")
print(server.pid, server.url, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks ps for sessions as Linux writes them")
@pytest.mark.parametrize("cycle", range(KILLS))
def test_nothing_of_it_is_left_when_its_owner_is_killed(spec: LaunchSpec, cycle: int) -> None:
    script = OWNER.format(root=str(ROOT), spec=pickle.dumps(spec))
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    words = owner.stdout.readline().split()
    owner.stdout.close()
    pid, port = int(words[0]), urlsplit(words[1]).port
    assert len(of_session(pid)) == (2 if spec.use == "command" else 1)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    until(lambda: not of_session(pid) and not listening(port), within=2.0)


def test_many_threads_that_start_it_get_one_server(spec: LaunchSpec) -> None:
    own = LaunchedServer(spec, "acme/tiny", {})
    found: list[Server] = []
    together = threading.Barrier(8)

    def begin() -> None:
        together.wait()
        found.append(own.start())

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len(found) == 8
        assert len({server.pid for server in found}) == 1
        assert own.server is found[0]
    finally:
        own.kill()
    assert own.server is None


def test_one_that_died_is_started_anew(spec: LaunchSpec) -> None:
    own = LaunchedServer(spec, "acme/tiny", {})
    first = own.start()
    pid = first.pid
    os.kill(pid, signal.SIGKILL)
    try:
        until(lambda: first.status() == "died")
        assert own.server is None
        again = own.start()
        assert again.pid != pid
        assert ask(again, "/v1/models")[0] == 200
    finally:
        own.kill()


def test_a_start_that_failed_can_be_tried_again(spec: LaunchSpec, tmp_path: Path) -> None:
    if spec.use == "ollama":
        pytest.skip("it loads no file")
    weights = tmp_path / "late.gguf"
    own = LaunchedServer(msgspec.structs.replace(spec, weights=str(weights)), "acme/tiny", {})
    with pytest.raises(LaunchError):
        own.start()
    assert own.server is None
    weights.write_bytes(TINY.read_bytes())
    assert own.start().status() == "running"
    own.kill()


def test_without_a_kind_nothing_starts() -> None:
    with pytest.raises(LaunchError, match="the kind of server is not stated"):
        LaunchedServer(LaunchSpec(), "tiny", {}).start()
