"""The tiny model behind llama.cpp's server, at an address that is stated; for the stand-ins."""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def serve(*, host: str, port: int, weights: str, names: set[str], keys: list[str]) -> Any:
    """Return the running server; end the process where it cannot run."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = names
    params.hostnames = [host]
    params.port = port
    params.api_keys = keys
    params.n_ctx = 1024
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.ui = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        sys.stderr.write(f"cannot serve {weights}: {error}\n")
        sys.stderr.flush()
        os._exit(3)


def stay() -> None:
    """Serve until a signal ends the process."""
    while True:
        time.sleep(60)
