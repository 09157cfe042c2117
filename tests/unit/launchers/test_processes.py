"""A server is started under a supervisor, watched, and ended with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers.environments import server_environment
from lmconf.launchers.logs import log_tail
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.specs import LaunchSpec, Ready, ServerLog
from lmconf.launchers.start import start
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Env, Given, Public
from tests.unit.launchers.scripted import QUICK, command, models_server, until
from tests.watching import alive


def sleeper(folder: Path) -> str:
    """Lines that start a grandchild which ignores polite signals and writes down its id."""
    return (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        " signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'])\n"
        f"open({str(folder / 'grandchild')!r}, 'w').write(str(child.pid))\n"
    )


def with_grandchild(folder: Path) -> ServerCommand:
    listed = models_server(folder)
    return command(folder, sleeper(folder) + listed.argv[3])


def grandchild(folder: Path) -> int:
    return int((folder / "grandchild").read_text())


def test_a_started_server_tells_where_it_is(tmp_path: Path) -> None:
    server = start(models_server(tmp_path), QUICK)
    try:
        assert server.status() == "running"
        assert server.url.startswith("http://127.0.0.1:")
        assert server.api_base == server.url + "/v1"
        assert server.model == "wanted"
        assert alive(server.pid)
    finally:
        server.stop()


def test_stopping_ends_the_server_and_what_it_started(tmp_path: Path) -> None:
    server = start(with_grandchild(tmp_path), QUICK)
    pid, below = server.pid, grandchild(tmp_path)
    assert alive(below)
    server.stop()
    assert server.status() == "stopped"
    assert not alive(pid)
    until(lambda: not alive(below))


def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    server = start(models_server(tmp_path), QUICK)
    server.stop()
    server.stop()
    assert server.status() == "stopped"


def test_a_server_that_ignores_the_polite_signal_is_killed_after_the_grace(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    server = start(command(tmp_path, stubborn + models_server(tmp_path).argv[3]), QUICK)
    pid = server.pid
    begun = time.monotonic()
    server.stop()
    assert not alive(pid)
    assert 0.4 < time.monotonic() - begun < 5


def test_a_server_that_writes_without_end_while_it_is_ended_does_not_stall(tmp_path: Path) -> None:
    noisy = (
        "import os, signal, threading\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def talk():\n"
        "    while True: os.write(1, b'x' * 4096)\n"
        "threading.Thread(target=talk, daemon=True).start()\n"
    )
    server = start(command(tmp_path, noisy + models_server(tmp_path).argv[3]), QUICK)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 5


def test_a_server_that_dies_later_is_seen_to_have_died(tmp_path: Path) -> None:
    server = start(models_server(tmp_path), QUICK)
    os.kill(server.pid, signal.SIGKILL)
    until(lambda: server.status() == "died")
    server.stop()


def test_what_a_dead_server_started_is_ended_too(tmp_path: Path) -> None:
    server = start(with_grandchild(tmp_path), QUICK)
    os.kill(server.pid, signal.SIGKILL)
    below = grandchild(tmp_path)
    until(lambda: not alive(below))
    server.stop()


def test_a_server_whose_supervisor_was_killed_is_ended_by_stop(tmp_path: Path) -> None:
    server = start(with_grandchild(tmp_path), QUICK)
    pid, below = server.pid, grandchild(tmp_path)
    os.kill(server._supervisor.pid, signal.SIGKILL)
    until(lambda: server.status() == "died")
    server.stop()
    until(lambda: not alive(pid) and not alive(below))


def test_an_early_death_is_noticed_at_once_and_the_log_is_shown(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(LaunchError) as raised:
        start(command(tmp_path, "print('no memory left'); raise SystemExit(7)"), QUICK)
    assert time.monotonic() - begun < 5
    assert "status 7" in str(raised.value)
    assert "no memory left" in str(raised.value)


def test_a_death_by_a_signal_is_told(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="by signal 9"):
        start(command(tmp_path, "import os; os.kill(os.getpid(), 9)"), QUICK)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    missing = ServerCommand(
        argv=("/nowhere/server",), model="m", folder=tmp_path, env={}, find=lambda: None
    )
    with pytest.raises(LaunchError, match="cannot start /nowhere/server: No such file"):
        start(missing, QUICK)


def test_a_server_that_is_never_ready_is_ended_when_the_time_is_over(tmp_path: Path) -> None:
    loading = models_server(tmp_path, status=503)
    spec = LaunchSpec(ready=Ready(timeout=1.0, interval=0.02), stop_grace=0.5)
    with pytest.raises(LaunchError, match="not ready within 1s"):
        start(loading, spec)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_server_that_serves_another_model_is_refused_and_ended(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="serves 'other', not 'wanted'"):
        start(models_server(tmp_path, name="other"), QUICK)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_the_log_is_private_and_bounded(tmp_path: Path) -> None:
    noisy = (
        "import os\nfor _ in range(200): os.write(1, b'line\\n' * 1000)\nos.write(1, b'the end')\n"
    )
    spec = LaunchSpec(ready=QUICK.ready, stop_grace=0.5, log=ServerLog(size=20_000))
    server = start(command(tmp_path, noisy + models_server(tmp_path).argv[3]), spec)
    try:
        until(lambda: "the end" in log_tail(server.log))
        files = [server.log, Path(f"{server.log}.1")]
        assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o600", "0o600"]
        assert sum(file.stat().st_size for file in files) <= 20_000
    finally:
        server.stop()


def test_the_log_goes_where_the_profile_says(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "tiny.log"
    spec = LaunchSpec(ready=QUICK.ready, log=ServerLog(path=str(path)))
    with pytest.raises(LaunchError):
        start(command(tmp_path, "print('said this')"), spec)
    assert "said this" in path.read_text()


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spec = LaunchSpec(log=ServerLog(path=str(tmp_path / "file" / "server.log")))
    with pytest.raises(LaunchError, match=r"log .* cannot be written"):
        start(models_server(tmp_path), spec)


def test_an_interrupt_while_waiting_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt() -> str | None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt
        return None

    waiting = ServerCommand(
        argv=(sys.executable, "-I", "-c", "import time; time.sleep(600)"),
        model="m",
        folder=tmp_path,
        env={},
        find=interrupt,
    )
    with pytest.raises(KeyboardInterrupt):
        start(waiting, QUICK)
    until(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_the_server_sees_only_what_is_passed_on_and_what_the_profile_adds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_PRIVATE_THING", "hush")
    monkeypatch.setenv("HUB", "from outside")
    spec = LaunchSpec(
        env=FrozenMap(
            {"A": "literal", "B": Env(name="HUB"), "C": Given(name="key"), "D": Public("open")}
        )
    )
    env, hidden = server_environment(spec, {"key": "given value"})
    assert env["A"] == "literal"
    assert env["B"] == "from outside"
    assert env["C"] == "given value"
    assert env["D"] == "open"
    assert "MY_PRIVATE_THING" not in env
    assert env["PATH"] == os.environ["PATH"]
    assert set(hidden) == {"from outside", "given value"}


def test_what_a_format_stands_around_is_hidden_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTSIDE", "from outside")
    spec = LaunchSpec(env=FrozenMap({"A": Env(name="OUTSIDE", format="Bearer {}")}))
    env, hidden = server_environment(spec, {})
    assert env["A"] == "Bearer from outside"
    assert set(hidden) == {"Bearer from outside", "from outside"}


def test_the_environment_reaches_the_server_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_PRIVATE_THING", "hush")
    tell = "import os; print(sorted(os.environ)); raise SystemExit(1)"
    with pytest.raises(LaunchError) as raised:
        start(command(tmp_path, tell), QUICK)
    assert "MY_PRIVATE_THING" not in str(raised.value)
    assert "'PATH'" in str(raised.value)


def test_a_reference_that_leads_nowhere_is_named() -> None:
    with pytest.raises(LaunchError, match="environment variable NOT_SET is not set"):
        server_environment(LaunchSpec(env=FrozenMap({"A": Env(name="NOT_SET")})), {})
    with pytest.raises(LaunchError, match="code must pass a value for 'key'"):
        server_environment(LaunchSpec(env=FrozenMap({"A": Given(name="key")})), {})


def test_gpus_are_taken_from_those_that_may_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def visible(gpus: int) -> str:
        return server_environment(LaunchSpec(gpus=gpus), {})[0]["CUDA_VISIBLE_DEVICES"]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible(2) == "0,1"
    assert visible(0) == ""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible(1) == "4"
    with pytest.raises(LaunchError, match="names only 2"):
        visible(3)


def test_an_error_shows_no_secret_of_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("key is blue-moon-42\nand sk-abcdefghijklmnop\n")
    assert log_tail(log, ("blue-moon-42",)) == "key is ***\nand ***"


def test_only_the_end_of_a_long_log_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(10_000)))
    shown = log_tail(log).splitlines()
    assert shown[-1] == "line 9999"
    assert len(shown) <= 25


def test_the_end_of_a_log_may_be_in_the_file_before(tmp_path: Path) -> None:
    (tmp_path / "log.1").write_text("why it failed\n")
    assert log_tail(tmp_path / "log") == "why it failed"
    (tmp_path / "log").write_text("bye\n")
    assert log_tail(tmp_path / "log") == "why it failed\nbye"


def test_no_representation_shows_the_environment_or_the_input(tmp_path: Path) -> None:
    secret = ServerCommand(
        argv=("x",), model="m", folder=tmp_path, env={"K": "hush"}, find=lambda: None, input="hush"
    )
    assert "hush" not in repr(secret)


OWNER = """
import sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.unit.launchers.scripted import models_server
from lmconf.launchers.start import start
from lmconf.launchers.specs import LaunchSpec, Ready
server = start(models_server(Path(sys.argv[1])), LaunchSpec(ready=Ready(timeout=20.0)))
{then}
"""


def owner(folder: Path, then: str) -> subprocess.Popen[str]:
    """A process that starts a server, and then does what the lines say."""
    script = OWNER.format(root=str(Path(__file__).parents[3]), then=then)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_a_server_ends_with_its_owner_also_when_the_owner_just_exits(tmp_path: Path) -> None:
    with owner(tmp_path, "import os; print(server.pid, flush=True); os._exit(0)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
    until(lambda: not alive(pid))


def test_a_server_ends_with_its_killed_owner_although_a_fork_of_it_lives(tmp_path: Path) -> None:
    forks = (
        "import os\n"
        "forked = os.fork()\n"
        "if not forked: time.sleep(60); os._exit(0)\n"
        "print(server.pid, forked, flush=True); time.sleep(60)\n"
    )
    process = owner(tmp_path, forks)
    assert process.stdout is not None
    pid, forked = (int(word) for word in process.stdout.readline().split())
    try:
        process.kill()
        process.wait()
        until(lambda: not alive(pid))
        assert alive(forked)
    finally:
        os.kill(forked, signal.SIGKILL)
        process.stdout.close()


def test_a_fork_cannot_stop_its_parents_server(tmp_path: Path) -> None:
    forks = (
        "import os\n"
        "forked = os.fork()\n"
        "if not forked: server.stop(); os._exit(server.status() != 'running')\n"
        "_, code = os.waitpid(forked, 0)\n"
        "print(code, server.status(), flush=True)\n"
        "server.stop()\n"
    )
    with owner(tmp_path, forks) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0 running\n"


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    import threading

    started: list[ServerProcess] = []
    thread = threading.Thread(target=lambda: started.append(start(models_server(tmp_path), QUICK)))
    thread.start()
    thread.join()
    time.sleep(1.0)
    assert started[0].status() == "running"
    started[0].stop()
