"""OpenAI's files and fine-tuning jobs on loopback, to the letter of what the official SDK parses.

A job goes from `validating_files` by way of `running` to `ending` as it is asked after; with
`hold` it stays where it is. `/openai/…` paths are Azure's, which look at files first.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "sk-peer-marker-0123456789"
Json = dict[str, Any]


@dataclass
class Peer:
    """What the server knows, and how it is told to behave."""

    ending: str = "succeeded"
    hold: bool = False
    refuse_jobs: bool = False
    down: int = 0
    """How many requests are answered 503 before it works again."""
    drop_answer_to_job: bool = False
    files: dict[str, Json] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, Json] = field(default_factory=dict)
    events: dict[str, list[Json]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    address: str = ""

    @property
    def base(self) -> str:
        return f"{self.address}/v1"


class Problem(Exception):
    """An error as the API tells it."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        self.status = status
        self.body = {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": code,
            }
        }


def now() -> int:
    return int(time.time())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    peer: Peer

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        parts = urlsplit(self.path)
        path = parts.path
        self.peer.requests.append(f"{method} {path}")
        status = 200
        try:
            path = self._checked(path, parse_qs(parts.query))
            if self.peer.down:
                self.peer.down -= 1
                raise Problem(503, "Try again.")
            told = self._routed(method, path, parse_qs(parts.query), body)
        except Problem as problem:
            status, told = problem.status, problem.body
        if self.peer.drop_answer_to_job and method == "POST" and path == "/fine_tuning/jobs":
            self.peer.drop_answer_to_job = False
            self.close_connection = True
            return
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _checked(self, path: str, query: dict[str, list[str]]) -> str:
        """Return the path below the API's base, once the key is right."""
        if path.startswith("/openai/"):
            if "api-version" not in query:
                raise Problem(404, "Resource not found")
            given = self.headers.get("api-key", "")
            path = path.removeprefix("/openai")
        else:
            given = self.headers.get("authorization", "").removeprefix("Bearer ")
            path = path.removeprefix("/v1")
        self.peer.keys.add(given)
        if given != KEY:
            raise Problem(401, f"Incorrect API key provided: {given}.", "invalid_api_key")
        return path

    def _routed(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Json:
        if (method, path) == ("POST", "/files"):
            return self._file(body)
        if found := re.fullmatch(r"/files/([\w-]+)", path):
            return self._one_file(method, found[1])
        if (method, path) == ("POST", "/fine_tuning/jobs"):
            return self._new_job(json.loads(body))
        if (method, path) == ("GET", "/fine_tuning/jobs"):
            return self._jobs(query)
        if found := re.fullmatch(r"/fine_tuning/jobs/([\w-]+)(/\w+)?", path):
            return self._one_job(method, found[1], found[2] or "")
        if (method, path) == ("POST", "/chat/completions"):
            return self._chat(json.loads(body))
        raise Problem(404, f"Unknown request URL: {method} {path}")

    def _file(self, body: bytes) -> Json:
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        form = {
            str(part.get_param("name", header="content-disposition")): part
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
        }
        purpose = form["purpose"].get_content().strip()
        if purpose != "fine-tune":
            raise Problem(400, f"'{purpose}' is not one of ['fine-tune']")
        content = form["file"].get_payload(decode=True)
        assert isinstance(content, bytes)
        number = f"file-{len(self.peer.files) + 1:08d}"
        self.peer.contents[number] = content.decode()
        azure = self.path.startswith("/openai/")
        self.peer.files[number] = {
            "id": number,
            "object": "file",
            "bytes": len(content),
            "created_at": now(),
            "filename": form["file"].get_filename(),
            "purpose": "fine-tune",
            "status": "pending" if azure else "processed",
        }
        return self.peer.files[number]

    def _one_file(self, method: str, number: str) -> Json:
        if number not in self.peer.files:
            raise Problem(404, f"No such File object: {number}")
        if method == "DELETE":
            del self.peer.files[number]
            return {"id": number, "object": "file", "deleted": True}
        self.peer.files[number]["status"] = "processed"
        return self.peer.files[number]

    def _new_job(self, asked: Json) -> Json:
        file = asked["training_file"]
        if self.peer.refuse_jobs:
            raise Problem(400, f"Model {asked['model']} is not available for fine-tuning")
        if self.peer.files.get(file, {}).get("status") != "processed":
            raise Problem(400, f"invalid training_file: {file}")
        rows = self.peer.contents[file].splitlines()
        if len(rows) < 10:
            raise Problem(400, f"Training file has {len(rows)} example(s), must have at least 10")
        method = asked.get("method", {"type": "supervised"})
        chosen = method.get(method["type"], {}).get("hyperparameters", {})
        number = f"ftjob-{len(self.peer.jobs) + 1:06d}"
        filled = {"batch_size": 1, "learning_rate_multiplier": 1.8, "n_epochs": 3, **chosen}
        supervised = {"hyperparameters": filled}
        self.peer.jobs[number] = {
            "id": number,
            "object": "fine_tuning.job",
            "created_at": now(),
            "error": {"code": None, "message": None, "param": None}
            if self.path.startswith("/openai/")
            else None,
            "fine_tuned_model": None,
            "finished_at": None,
            "hyperparameters": {k: filled[k] for k in ("batch_size", "n_epochs")},
            "model": asked["model"],
            "organization_id": "org-peer",
            "result_files": [],
            "seed": asked.get("seed", 7),
            "status": "validating_files",
            "trained_tokens": None,
            "training_file": file,
            "validation_file": asked.get("validation_file"),
            "estimated_finish": None,
            "integrations": [],
            "metadata": asked.get("metadata"),
            "method": {"type": method["type"], method["type"]: supervised},
            "user_provided_suffix": asked.get("suffix"),
        }
        self.peer.events[number] = []
        self._event(number, f"Created fine-tuning job: {number}")
        return self.peer.jobs[number]

    def _event(self, number: str, message: str, level: str = "info") -> None:
        listed = self.peer.events[number]
        listed.insert(
            0,
            {
                "id": f"ftevent-{number}-{len(listed)}",
                "object": "fine_tuning.job.event",
                "created_at": now(),
                "level": level,
                "message": message,
                "type": "message",
                "data": {},
            },
        )

    def _jobs(self, query: dict[str, list[str]]) -> Json:
        wanted = query.get("metadata[lmconf_job]")
        found = [
            job
            for job in self.peer.jobs.values()
            if not wanted or (job["metadata"] or {}).get("lmconf_job") == wanted[0]
        ]
        return {"object": "list", "data": found[::-1], "has_more": False}

    def _one_job(self, method: str, number: str, rest: str) -> Json:
        job = self.peer.jobs.get(number)
        if job is None:
            raise Problem(404, f"Could not find fine tune: {number}", "fine_tune_not_found")
        if rest == "/events":
            return {"object": "list", "data": self.peer.events[number], "has_more": False}
        ended = job["status"] in ("succeeded", "failed", "cancelled")
        if (method, rest) == ("POST", "/cancel"):
            if ended:
                raise Problem(400, f"Job has already completed: {number}")
            job |= {"status": "cancelled", "finished_at": now()}
            self._event(number, "Fine tune cancelled")
        elif not rest and method == "GET" and not ended and not self.peer.hold:
            self._move_on(job)
        return job

    def _move_on(self, job: Json) -> None:
        number = job["id"]
        if job["status"] == "validating_files":
            job["status"] = "running"
            self._event(number, "Fine-tuning job started")
            return
        job |= {"status": self.peer.ending, "finished_at": now()}
        if self.peer.ending == "succeeded":
            suffix = job["user_provided_suffix"] or ""
            model = f"ft:{job['model']}:peer:{suffix}:{number[-6:]}"
            job |= {"fine_tuned_model": model, "trained_tokens": 4321, "result_files": ["file-r"]}
            self._event(number, "The job has successfully completed")
        else:
            reason = "The job failed due to an invalid training file."
            job["error"] = {"code": "invalid_file", "message": reason, "param": "training_file"}
            self._event(number, reason, "error")

    def _chat(self, asked: Json) -> Json:
        trained = {job["fine_tuned_model"] for job in self.peer.jobs.values()}
        known = asked["model"] in trained
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": now(),
            "model": asked["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "logprobs": None,
                    "message": {
                        "role": "assistant",
                        "content": "trained" if known else "untrained",
                        "refusal": None,
                    },
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }


@contextmanager
def serving() -> Iterator[Peer]:
    """Yield a peer that listens on a free port of this machine."""
    peer = Peer()

    class Own(Handler):
        pass

    Own.peer = peer
    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    peer.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
