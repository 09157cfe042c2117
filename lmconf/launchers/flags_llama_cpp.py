"""What llama.cpp's server takes, as the `xllamacpp` package names it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from lmconf.launchers.flags import Flags, Takes

__all__ = ["ARGUMENTS", "FLAGS", "Argument", "Kind"]

Kind = Literal["integer", "number", "switch", "text", "texts"]


class Argument(Struct, frozen=True):
    """One of the server's arguments: the parameter of xllamacpp that it sets, and its type."""

    parameter: str
    kind: Kind


ARGUMENTS: dict[str, Argument] = {
    "alias": Argument("model_alias", "texts"),
    "api-key": Argument("api_keys", "texts"),
    "batch-size": Argument("n_batch", "integer"),
    "cache-prompt": Argument("cache_prompt", "switch"),
    "cache-ram": Argument("cache_ram_mib", "integer"),
    "chat-template": Argument("chat_template", "text"),
    "context-shift": Argument("ctx_shift", "switch"),
    "ctx-size": Argument("n_ctx", "integer"),
    "embeddings": Argument("embedding", "switch"),
    "jinja": Argument("use_jinja", "switch"),
    "kv-unified": Argument("kv_unified", "switch"),
    "main-gpu": Argument("main_gpu", "integer"),
    "metrics": Argument("endpoint_metrics", "switch"),
    "mmproj": Argument("mmproj.path", "text"),
    "n-gpu-layers": Argument("n_gpu_layers", "integer"),
    "n-predict": Argument("n_predict", "integer"),
    "parallel": Argument("n_parallel", "integer"),
    "pooling": Argument("pooling_type", "text"),
    "props": Argument("endpoint_props", "switch"),
    "rope-freq-base": Argument("rope_freq_base", "number"),
    "rope-freq-scale": Argument("rope_freq_scale", "number"),
    "seed": Argument("sampling.seed", "integer"),
    "slots": Argument("endpoint_slots", "switch"),
    "threads": Argument("cpuparams.n_threads", "integer"),
    "threads-batch": Argument("cpuparams_batch.n_threads", "integer"),
    "threads-http": Argument("n_threads_http", "integer"),
    "ubatch-size": Argument("n_ubatch", "integer"),
    "verbosity": Argument("verbosity", "integer"),
    "warmup": Argument("warmup", "switch"),
}
"""What `args` may name, spelled like llama-server's own options; `_` may stand for `-`."""

_TAKES: dict[Kind, Takes] = {
    "integer": "integer",
    "number": "number",
    "switch": "switch",
    "text": "value",
    "texts": "list",
}
FLAGS: Flags = {name: _TAKES[argument.kind] for name, argument in ARGUMENTS.items()}
"""The same, as the other kinds have it."""
