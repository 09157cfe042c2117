"""Takes the flags of `vllm serve` that lmconf writes, and serves the tiny model."""

from __future__ import annotations

import argparse

from tests.standins.tiny_server import serve, stay

if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("model")
    parser.add_argument("--served-model-name", nargs="+")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", nargs="+", default=[])
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-modules", nargs="+", default=[])
    parser.add_argument("--max-model-len")
    args = parser.parse_args()
    adapters = {each.split("=")[0] for each in args.lora_modules}
    server = serve(
        host=args.host,
        port=args.port,
        weights=args.model,
        names={*args.served_model_name, *adapters},
        keys=args.api_key,
    )
    stay()
