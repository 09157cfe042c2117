"""Ollama: started, given its model when that is asked for, and warmed up."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from lmconf.errors import LaunchError
from lmconf.launchers.contract import PLAIN, Launcher, Manner
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.ports import address
from lmconf.launchers.processes import Command, ServerProcess, environment, start_listening
from lmconf.launchers.ready import get
from lmconf.launchers.specs import LaunchSpec

__all__ = ["LAUNCHER", "Ollama"]

LONGEST_LINE = 2**20


class Ollama:
    """Runs `ollama serve`, and sees to it that the model is there and loaded.

    The routes are those of Ollama's API documentation: `/api/tags`, `/api/pull`, `/api/generate`.
    """

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        given: Mapping[str, str] | None = None,
        manner: Manner = PLAIN,
    ) -> ServerProcess:
        """Return a server that serves `model` under that name, ready to answer.

        Raises:
            LaunchError: there is no `ollama`, the port is taken, the model is neither there nor
                to be pulled, or the server did not become ready.
        """
        env, secret = environment(spec, {} if given is None else given)
        program = shutil.which("ollama", path=env.get("PATH"))
        if program is None:
            raise LaunchError("there is no program 'ollama' on the PATH (see ollama.com/download)")

        def make(port: int) -> Command:
            own = {"OLLAMA_HOST": f"{spec.host}:{port}"}
            if spec.gpus == 0:
                own["OLLAMA_LLM_LIBRARY"] = "cpu"
            return Command(
                kind="ollama",
                argv=(program, "serve", *spec.raw_args),
                model=model,
                folder=new_run_folder("ollama"),
                env={**env, **own},
                find=lambda: address(spec.host, port),
                ready_path=spec.ready.path or "/api/version",
                ready_names=(),
                prepare=lambda url: _prepare(url, model, spec),
                hidden=secret,
            )

        return start_listening(make, spec, manner)


def _prepare(url: str, model: str, spec: LaunchSpec) -> None:
    """Have `model` pulled if it is missing and that is wanted, and loaded.

    Raises:
        LaunchError: it is missing, or one of the two failed.
    """
    until = time.monotonic() + spec.ready.timeout
    if spec.ready.model and not _has(url, model):
        if not spec.pull:
            raise LaunchError(
                f"Ollama does not have {model!r}: run `ollama pull {model}`, or say `pull: true`"
            )
        _ask(url, "/api/pull", {"model": model}, until)
        if not _has(url, model):
            raise LaunchError(f"Ollama pulled {model!r} and does not have it all the same")
    # Without a prompt it only loads the model.
    _ask(url, "/api/generate", {"model": model, "stream": False}, until)


def _has(url: str, model: str) -> bool:
    answer = get(url, "/api/tags", 10.0)
    try:
        listed = json.loads(answer[1])["models"] if answer and answer[0] == 200 else []
        names = {str(each["name"]) for each in listed}
    except (ValueError, KeyError, TypeError):
        return False
    return model in names or f"{model}:latest" in names


def _ask(url: str, path: str, body: Mapping[str, object], until: float) -> None:
    """Send `body`, and read what comes of it to the end.

    Raises:
        LaunchError: the server said that it failed, or did not end in time.
    """
    place = urlsplit(url)
    left = max(until - time.monotonic(), 0.1)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=left)
    problem = ""
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = connection.getresponse()
        while not problem and (line := reply.readline(LONGEST_LINE)):
            problem = _problem(reply.status, line)
            if time.monotonic() > until:
                problem = "it took longer than `ready.timeout`"
    except (OSError, http.client.HTTPException) as error:
        problem = str(error) or type(error).__name__
    finally:
        connection.close()
    if problem:
        raise LaunchError(f"Ollama could not do {path} for {body['model']!r}: {problem}")


def _problem(status: int, line: bytes) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("error"):
        return str(said["error"])[:500]
    return "" if status == 200 else f"it answered with status {status}"


LAUNCHER: Launcher = Ollama()
