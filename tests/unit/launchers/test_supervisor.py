"""A supervisor ends its server when it should, never sooner, and costs nothing while it waits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from lmconf.errors import LaunchError
from lmconf.launchers.processes import ServerProcess
from lmconf.launchers.server_protocol import StartOptions
from lmconf.launchers.specs import LaunchSpec, ServerLog
from lmconf.launchers.start import start
from lmconf.secrets.masks import Redactor
from lmconf.system.supervisor import BoundedLog
from tests.unit.launchers.scripted import QUICK, command, models_server, until
from tests.watching import alive

ROOT = Path(__file__).parents[3]


def supervisor_of(server: ServerProcess) -> int:
    return server.record().supervisor


def end(server: ServerProcess) -> None:
    """Stop a server, and see that it is gone."""
    pid = server.pid
    server.stop()
    until(lambda: not alive(pid))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("detached", [False, True])
def test_a_supervisor_that_only_waits_needs_no_processor(tmp_path: Path, detached: bool) -> None:
    server = start(models_server(tmp_path), QUICK, StartOptions(detached=detached))

    def seconds() -> float:
        stat = Path(f"/proc/{supervisor_of(server)}/stat").read_text().rpartition(")")[2].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")

    try:
        before = seconds()
        time.sleep(1.0)
        assert seconds() - before < 0.3
    finally:
        end(server)


OWNER = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from lmconf.launchers.server_protocol import StartOptions
from lmconf.launchers.start import start
from tests.unit.launchers.scripted import QUICK, models_server
start(models_server(Path(sys.argv[1]), status={status}), QUICK, StartOptions(detached=True))
print("ready", flush=True)
input()
"""


def owner(folder: Path, status: int) -> subprocess.Popen[str]:
    script = OWNER.format(root=str(ROOT), status=status)
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_detached_server_outlives_its_owner_only_once_it_is_ready(tmp_path: Path) -> None:
    folders = [tmp_path / "loading", tmp_path / "ready"]
    for folder in folders:
        folder.mkdir()
    loading, ready = owner(folders[0], 503), owner(folders[1], 200)
    assert ready.stdout is not None
    assert ready.stdout.readline() == "ready\n"
    until((folders[0] / "address").exists)
    pids = [int((folder / "pid").read_text()) for folder in folders]
    kill(loading)
    kill(ready)
    try:
        until(lambda: not alive(pids[0]), within=5.0)
        assert alive(pids[1])
    finally:
        os.killpg(pids[1], signal.SIGKILL)


def test_a_server_whose_owner_was_killed_gets_little_time_for_its_end(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    script = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from pathlib import Path\n"
        "from lmconf.launchers.specs import LaunchSpec\n"
        "from lmconf.launchers.start import start\n"
        "from tests.unit.launchers.scripted import command, models_server\n"
        "folder = Path(sys.argv[1])\n"
        f"script = {stubborn!r} + models_server(folder).argv[3]\n"
        "print(start(command(folder, script), LaunchSpec(stop_grace=60.0)).pid, flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    kill(process)
    until(lambda: not alive(pid), within=20.0)  # its own grace is a minute


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_server_ends_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    server = start(models_server(tmp_path), QUICK)
    pid = server.pid
    os.kill(supervisor_of(server), signal.SIGKILL)
    until(lambda: not alive(pid), within=5.0)
    assert server.status() == "died"
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files")
def test_a_full_disk_loses_lines_and_ends_no_server(tmp_path: Path) -> None:
    talks = (
        "import threading, time\n"
        "def talk():\n"
        "    for number in range(10**6): print('line', number, flush=True); time.sleep(0.01)\n"
        "threading.Thread(target=talk, daemon=True).start()\n"
    )
    server = start(command(tmp_path, talks + models_server(tmp_path).argv[3]), QUICK)
    try:
        full = (0, resource.RLIM_INFINITY)
        before = resource.prlimit(supervisor_of(server), resource.RLIMIT_FSIZE, full)
        size = server.log.stat().st_size
        time.sleep(0.6)
        assert server.status() == "running"
        assert server.log.stat().st_size == size
        resource.prlimit(supervisor_of(server), resource.RLIMIT_FSIZE, before)
        until(lambda: server.log.stat().st_size > size)
    finally:
        end(server)


def test_a_log_whose_folder_was_removed_ends_no_server(tmp_path: Path) -> None:
    talks = "import os, threading\nthreading.Timer(0.5, lambda: os.write(1, b'x' * 200)).start()\n"
    folder = tmp_path / "logs"
    spec = msgspec.structs.replace(QUICK, log=ServerLog(path=str(folder / "log"), size=100))
    server = start(command(tmp_path, talks + models_server(tmp_path).argv[3]), spec)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    time.sleep(1.0)
    assert server.status() == "running"
    end(server)


def test_a_log_that_cannot_be_begun_anew_stays_bounded(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 100)
    (tmp_path / "log.1").mkdir()
    (tmp_path / "log.1" / "file").write_text("")
    log.write(b"x" * 200)
    assert (tmp_path / "log").stat().st_size == 50
    (tmp_path / "log.1" / "file").unlink()
    (tmp_path / "log.1").rmdir()
    log.write(b"y" * 10)
    assert (tmp_path / "log").read_bytes() == b"y" * 10


@pytest.mark.parametrize("path", ["/dev/null", "{folder}/pipe"])
def test_a_log_is_a_file_and_no_device_or_pipe(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = Path("/dev/null").stat().st_mode
    spec = LaunchSpec(log=ServerLog(path=path.format(folder=tmp_path)))
    with pytest.raises(LaunchError, match=r"is not a regular file|cannot be written"):
        start(models_server(tmp_path), spec)
    assert Path("/dev/null").stat().st_mode == before


def test_a_secret_that_a_server_tells_is_in_no_log(tmp_path: Path) -> None:
    tells = "import os, time\nfor piece in (b'key blue-', b'moon-42 is', b' set\\n'):\n"
    tells += "    os.write(1, piece); time.sleep(0.05)\n"
    telling = command(tmp_path, tells + models_server(tmp_path).argv[3])
    server = start(msgspec.structs.replace(telling, hidden=("blue-moon-42",)), QUICK)
    try:
        until(lambda: server.log.read_bytes().startswith(b"key *** is set\n"))
    finally:
        end(server)


@pytest.mark.parametrize("cut", range(1, 22))
def test_secrets_are_masked_wherever_their_text_is_cut(cut: int) -> None:
    redactor = Redactor([b"abab", b"abc", b""])
    said = b"x ababab abc abab\nab aba"
    shown = redactor(said[:cut]) + redactor(said[cut:]) + redactor.end()
    assert shown == b"x *** *** ***\nab aba"
