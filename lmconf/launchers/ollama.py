"""Ollama: started, given its model when that is asked for, and warmed up."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from msgspec import Struct

from lmconf.errors import LaunchError
from lmconf.launchers.environments import server_environment
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.ports import address
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.server_protocol import PLAIN, Launcher, StartOptions
from lmconf.launchers.specs import LaunchSpec
from lmconf.launchers.start import start_listening
from lmconf.secrets.redaction import mask_secrets
from lmconf.secrets.references import Masked

__all__ = ["LAUNCHER", "Ollama"]

LONGEST_LINE = 2**20


class Ollama:
    """Runs `ollama serve`, and sees to it that the model is there and loaded.

    The routes are those of Ollama's API documentation: `/api/show`, `/api/pull`, `/api/generate`.
    """

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        code_values: Mapping[str, str] | None = None,
        manner: StartOptions = PLAIN,
    ) -> ServerProcess:
        """Return a server that serves `model` under that name, ready to answer.

        Raises:
            LaunchError: there is no `ollama`, the port is taken, the model is neither there nor
                to be pulled, or the server did not become ready.
        """
        env, secret = server_environment(spec, {} if code_values is None else code_values)
        program = shutil.which("ollama", path=env.get("PATH"))
        if program is None:
            raise LaunchError("there is no program 'ollama' on the PATH (see ollama.com/download)")

        def make(port: int) -> ServerCommand:
            host = f"[{spec.host}]" if ":" in spec.host else spec.host
            own = {"OLLAMA_HOST": f"{host}:{port}"}
            if spec.gpus == 0:
                own |= {"OLLAMA_LLM_LIBRARY": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
            return ServerCommand(
                kind="ollama",
                argv=(program, "serve", *spec.raw_args),
                model=model,
                folder=new_run_folder("ollama"),
                env={**env, **own},
                find=lambda: address(spec.host, port),
                ready_path=spec.ready.path or "/api/version",
                ready_names=(),
                prepare=lambda url, death: _OllamaModel(
                    url=url,
                    model=model,
                    until=time.monotonic() + spec.ready.timeout,
                    death=death,
                    on_progress=manner.on_progress,
                    hidden=secret,
                ).prepare(spec),
                hidden=secret,
            )

        return start_listening(make, spec, manner)


class _OllamaModel(Masked, Struct, frozen=True, kw_only=True):
    """A running server that is asked for its model until the time `until`.

    `death` tells why it ended, once it has; `on_progress` is called with how far a download is.
    What the server says is told without what is `hidden`.
    """

    url: str
    model: str
    until: float
    death: Callable[[], str | None]
    on_progress: Callable[[str], object]
    hidden: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Ollama at {self.url}, asked for {self.model!r}>"

    def prepare(self, spec: LaunchSpec) -> None:
        """Have the model pulled if it is missing and that is wanted, and loaded.

        Raises:
            LaunchError: it is missing, or one of the two failed.
        """
        if spec.ready.model and not self._is_there():
            if not spec.pull:
                raise LaunchError(
                    f"Ollama does not have {self.model!r}: run `ollama pull {self.model}`, or say"
                    " `pull: true`"
                )
            self._ask("/api/pull", {"model": self.model})
        # Without a prompt it only loads the model.
        self._ask("/api/generate", {"model": self.model, "stream": False})

    def _is_there(self) -> bool:
        """Say whether the server has the model, which it alone knows by all its names."""
        with self._post("/api/show", {"model": self.model}) as reply:
            return reply.status != 404

    def _ask(self, path: str, body: Mapping[str, object]) -> None:
        """Send `body`, and read what comes of it, an object a line, to the end."""
        with self._post(path, body) as reply:
            while line := reply.readline(LONGEST_LINE):
                problem = self._problem(reply.status, line) or self.death()
                if time.monotonic() > self.until:
                    problem = "it took longer than `ready.timeout`"
                if problem:
                    raise LaunchError(f"Ollama could not do {path} for {self.model!r}: {problem}")
                self.on_progress(_progress(line))

    def _problem(self, status: int, line: bytes) -> str:
        """Return what a line of a reply complains of; nothing where it does not."""
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and message.get("error"):
            return mask_secrets(str(message["error"]), self.hidden)[:500]
        return "" if status == 200 else f"it answered with status {status}"

    @contextmanager
    def _post(self, path: str, body: Mapping[str, object]) -> Iterator[http.client.HTTPResponse]:
        """Yield the reply to `body`.

        Raises:
            LaunchError: there is none, or it breaks off.
        """
        place = urlsplit(self.url)
        left = max(self.until - time.monotonic(), 0.1)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=left)
        try:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            problem = self.death() or str(error) or type(error).__name__
        else:
            return
        finally:
            connection.close()
        raise LaunchError(f"Ollama could not do {path} for {self.model!r}: {problem}")


def _progress(line: bytes) -> str:
    """Return how far a download is: `pulling 4f659a1e86d7 (12 %)`."""
    try:
        message = json.loads(line)
    except ValueError:
        return ""
    if not isinstance(message, dict):
        return ""
    total, done = message.get("total"), message.get("completed", 0)
    has_total = isinstance(total, int) and isinstance(done, int) and total > 0
    return f"{message.get('status', '')}{f' ({100 * done // total} %)' if has_total else ''}"


LAUNCHER: Launcher = Ollama()
