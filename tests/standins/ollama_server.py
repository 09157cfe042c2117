"""Speaks Ollama's API as its documentation has it, with the tiny model behind it.

It has the models that the file `$OLLAMA_MODELS` names, a line each, and pulls any but `missing`.
"""

from __future__ import annotations

import http.client
import http.server
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.standins.tiny_server import serve

HAVE = Path(os.environ["OLLAMA_MODELS"])
WARM = HAVE.with_suffix(".warm")
host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
server = serve(host="127.0.0.1", port=0, weights=os.environ["TINY"], names={"tiny"}, keys=[])
behind = urlsplit(server.listening_address).port


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        names = HAVE.read_text().split()
        if self.path == "/api/version":
            self.answer(200, {"version": "0.12.0"})
        elif self.path == "/v1/models":
            self.answer(200, {"data": [{"id": name} for name in names]})
        else:
            self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        asked = json.loads(body)
        if self.path == "/api/show":
            self.show(asked["model"])
        elif self.path == "/api/pull":
            self.pull(asked["model"])
        elif self.path == "/api/generate":
            with WARM.open("a") as warm:
                warm.write(f"{asked['model']}\n")
            self.answer(
                200, {"model": asked["model"], "response": "", "done": True, "done_reason": "load"}
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", behind)
            connection.request("POST", self.path, body, {"content-type": "application/json"})
            reply = connection.getresponse()
            self.send(reply.status, reply.read())

    def show(self, model: str) -> None:
        named = model.lower()
        if {named, f"{named}:latest"} & set(HAVE.read_text().split()):
            self.answer(200, {"details": {"format": "gguf"}, "capabilities": ["completion"]})
        else:
            self.answer(404, {"error": f"model '{model}' not found"})

    def pull(self, model: str) -> None:
        lines: list[dict[str, object]] = [{"status": "pulling manifest"}]
        if model.startswith("missing"):
            lines.append({"error": "pull model manifest: file does not exist"})
        else:
            with HAVE.open("a") as have:
                have.write(f"{model}:latest\n")
            layer = {
                "status": "pulling 4f659a1e86d7",
                "digest": "sha256:4f659a1e86d7",
                "total": 800,
            }
            lines += [layer, layer | {"completed": 96}, {"status": "verifying sha256 digest"}]
            lines += [{"status": "writing manifest"}, {"status": "success"}]
        self.send(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def answer(self, status: int, body: object) -> None:
        self.send(status, json.dumps(body).encode())

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


sys.stderr.write(f"Listening on {host}:{port}\n")
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
