"""Servers made of a few lines of Python, and what tests ask about processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lmconf.launchers.processes import Command
from lmconf.launchers.specs import LaunchSpec, Ready

QUICK = LaunchSpec(ready=Ready(timeout=20.0, interval=0.02), stop_grace=0.5)
"""How servers of a few lines are started."""

MODELS = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"data": [{"id": NAME}]}).encode()
        self.send_response(STATUS)
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + "/address.partial", "w") as report:
    report.write("http://127.0.0.1:%d" % server.server_address[1])
import os; os.rename(sys.argv[1] + "/address.partial", sys.argv[1] + "/address")
server.serve_forever()
"""


def command(folder: Path, script: str) -> Command:
    """A command that runs `script` with the folder as its argument."""
    return Command(
        argv=(sys.executable, "-I", "-c", script, str(folder)),
        model="wanted",
        folder=folder,
        env={"PATH": os.environ["PATH"]},
        find=lambda: reported(folder),
    )


def models_server(folder: Path, name: str = "wanted", status: int = 200) -> Command:
    """A server that lists one model."""
    return command(folder, MODELS.replace("NAME", repr(name)).replace("STATUS", str(status)))


def reported(folder: Path) -> str | None:
    """The origin that the server wrote down, once it did."""
    path = folder / "address"
    return path.read_text() if path.exists() else None


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()


def eventually(holds: Callable[[], bool], within: float = 10.0) -> bool:
    """Whether something comes to hold in time."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def of_session(session: int) -> list[int]:
    """The processes of one session: a server, and every worker that it started."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,sess="], capture_output=True, check=True).stdout
    pairs = (line.split() for line in told.splitlines())
    return [int(pid) for pid, belongs in pairs if int(belongs) == session and alive(int(pid))]
