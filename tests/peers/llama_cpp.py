"""Serves a GGUF file with llama.cpp's own server until the standard input is closed.

`python llama_cpp.py WEIGHTS KEY` prints the server's address once it listens.
"""

from __future__ import annotations

import sys

import xllamacpp


def main(weights: str, key: str) -> None:
    """Serve `weights` to whoever knows `key`."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = weights
    chosen.model_alias = {"lmconf-tiny"}
    chosen.api_keys = [key]
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = 0
    chosen.n_parallel = 2
    chosen.n_ctx = 4096
    chosen.cpuparams.n_threads = 1
    chosen.use_jinja = True
    chosen.ui = False
    chosen.offline = True
    server = xllamacpp.Server(chosen)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


main(*sys.argv[1:])
