"""Takes the options of `transformers serve` that lmconf writes, and serves the tiny model."""

from __future__ import annotations

import argparse

from tests.standins.tiny_server import serve, stay

if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--device")
    args = parser.parse_args()
    server = serve(host=args.host, port=args.port, weights=args.model, names={args.model}, keys=[])
    stay()
