"""Runs llama.cpp's HTTP server in this process, as the JSON object on standard input says.

Started by its path, under a supervisor; it needs the standard library and xllamacpp alone. Once
the server listens, its address is written to the file `report`, which appears whole or not at
all: the server itself takes the free port, so that nobody else can take it in between.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Settings(TypedDict):
        """What to serve: the file `model` under the name `alias`.

        `parameters` are attributes of xllamacpp's CommonParams (`cpuparams.n_threads`);
        `package` is the folder to import xllamacpp from if it is not found otherwise.
        """

        model: str
        alias: str
        host: str
        port: int
        parameters: dict[str, Any]
        report: str
        package: str


POOLING = ("none", "mean", "cls", "last", "rank")
CANNOT_SERVE = 3


def apply(params: Any, name: str, value: Any) -> None:
    """Set the parameter that the dotted `name` leads to."""
    *parents, last = name.split(".")
    for parent in parents:
        params = getattr(params, parent)
    if name == "model_alias":
        value = params.model_alias | set(value)
    if name == "pooling_type":
        import xllamacpp

        if value not in POOLING:
            sys.exit(f"pooling is one of {', '.join(POOLING)}")
        value = getattr(xllamacpp.llama_pooling_type, f"LLAMA_POOLING_TYPE_{value.upper()}")
    setattr(params, last, value)


def serve(settings: Settings) -> Any:
    """Return the running server."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {settings["alias"]}
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.ui = False
    # No page that happens to be open in a browser may talk to a server on loopback.
    params.cors_origins = ""
    params.offline = True
    for name, value in settings["parameters"].items():
        apply(params, name, value)
    return xllamacpp.Server(params)


def report(address: str, path: Path) -> None:
    """Write the address for the owner to find."""
    partial = path.with_name(path.name + ".partial")
    partial.touch(mode=0o600)
    partial.write_text(address, "ascii")
    partial.replace(path)


def end(number: int, frame: object) -> None:
    """Leave at once: there is nothing to save, and threads of llama.cpp may be busy for long."""
    os._exit(0)


def main() -> None:
    """Serve until told to end, or until the supervisor is gone."""
    supervisor = os.getppid()
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    settings: Settings = json.load(sys.stdin)
    sys.path.append(settings["package"])
    try:
        server = serve(settings)
    except RuntimeError as error:
        sys.stderr.write(f"llama.cpp could not serve {settings['model']}: {error}\n")
        os._exit(CANNOT_SERVE)
    report(server.listening_address, Path(settings["report"]))
    while os.getppid() == supervisor:
        time.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    main()
