"""Servers made of a few lines of Python, and what tests ask about processes."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from lmconf.launchers.processes import ServerCommand
from lmconf.launchers.specs import LaunchSpec, Ready
from tests import watching
from tests.watching import alive

until = functools.partial(watching.until, within=10.0, look=0.01)

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


def command(folder: Path, script: str) -> ServerCommand:
    """A command that runs `script` with the folder as its argument."""
    return ServerCommand(
        argv=(sys.executable, "-I", "-c", script, str(folder)),
        model="wanted",
        folder=folder,
        env={"PATH": os.environ["PATH"]},
        find=lambda: reported(folder),
    )


def models_server(folder: Path, name: str = "wanted", status: int = 200) -> ServerCommand:
    """A server that lists one model."""
    return command(folder, MODELS.replace("NAME", repr(name)).replace("STATUS", str(status)))


def reported(folder: Path) -> str | None:
    """The origin that the server wrote down, once it did."""
    path = folder / "address"
    return path.read_text() if path.exists() else None


def of_session(session: int) -> list[int]:
    """The processes of one session: a server, and every worker that it started."""
    told = subprocess.run(["ps", "-A", "-o", "pid=,sess="], capture_output=True, check=True).stdout
    pairs = (line.split() for line in told.splitlines())
    return [int(pid) for pid, belongs in pairs if int(belongs) == session and alive(int(pid))]
