"""A server of one's own, with a worker process; for `use: command`."""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.standins.tiny_server import serve, stay

if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--weights", required=True)
    args = parser.parse_args()
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    server = serve(host=args.host, port=args.port, weights=args.weights, names={args.name}, keys=[])
    stay()
