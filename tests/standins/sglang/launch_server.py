"""Takes the flags of SGLang's server that lmconf writes, and serves the tiny model."""

from __future__ import annotations

import argparse

from tests.standins.tiny_server import serve, stay

if __name__ == "__main__":
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--tp-size", type=int)
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-paths", nargs="*", default=[])
    args = parser.parse_args()
    adapters = {each.split("=")[0] for each in args.lora_paths}
    server = serve(
        host=args.host,
        port=args.port,
        weights=args.model_path,
        names={args.served_model_name} | adapters,
        keys=[args.api_key] if args.api_key else [],
    )
    stay()
