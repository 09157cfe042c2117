"""Write a Llama checkpoint with a byte-level BPE tokenizer as a GGUF file for llama.cpp.

    python models/tiny/export.py CHECKPOINT_DIR OUT.gguf

Works for the tiny model and for what is fine-tuned from it (adapters merged first). Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

PRE_TOKENIZER = "smollm"
"""llama.cpp's name for: single digits apart, then the GPT-2 pattern; what train.py's tokenizer does."""

LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


class ExportError(Exception):
    """The checkpoint is not one that this exporter can write."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ExportError when the file is missing."""
    if not path.is_file():
        raise ExportError(f"{path} is missing: is {path.parent} a checkpoint folder?")
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """The rows of a q or k projection in llama.cpp's order, where a rotary pair is adjacent."""
    rows = weight.shape[0]
    halves = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def tensor_name(name: str) -> str:
    """The GGUF name of a checkpoint tensor; raises ExportError for one that is not known."""
    fixed = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in fixed:
        return fixed[name]
    parts = name.removeprefix("model.layers.").split(".", 1)
    inner = parts[1].removesuffix(".weight") if len(parts) == 2 else ""
    if not name.startswith("model.layers.") or inner not in LAYER_TENSORS:
        raise ExportError(f"no place in a GGUF Llama for the tensor {name!r}")
    return f"blk.{parts[0]}.{LAYER_TENSORS[inner]}.weight"


def add_architecture(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    """The model's dimensions."""
    if config.get("model_type") != "llama":
        raise ExportError(f"model_type is {config.get('model_type')!r}; only 'llama' is written")
    heads = config["num_attention_heads"]
    rope = config.get("rope_parameters") or {}
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def add_tokenizer(writer: gguf.GGUFWriter, folder: Path, vocab_size: int) -> None:
    """The vocabulary, merges, special tokens and chat template."""
    tokenizer = read_json(folder / "tokenizer.json")
    settings = read_json(folder / "tokenizer_config.json")
    vocabulary: dict[str, int] = dict(tokenizer["model"]["vocab"])
    special = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    by_id = {number: token for token, number in (vocabulary | special).items()}
    if sorted(by_id) != list(range(vocab_size)):
        raise ExportError(f"the tokenizer has {len(by_id)} tokens, the model {vocab_size}")
    tokens = [by_id[number] for number in range(vocab_size)]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in special else normal for token in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    end = by_id_of(special, settings["eos_token"])
    writer.add_eos_token_id(end)
    writer.add_eot_token_id(end)
    writer.add_pad_token_id(by_id_of(special, settings["pad_token"]))
    writer.add_add_bos_token(False)
    writer.add_chat_template(chat_template(folder, settings))


def by_id_of(special: dict[str, int], token: str) -> int:
    """The number of a special token; raises ExportError when the tokenizer lacks it."""
    if token not in special:
        raise ExportError(f"the tokenizer has no special token {token!r}")
    return special[token]


def chat_template(folder: Path, settings: dict[str, Any]) -> str:
    """The chat template, from its own file or from the tokenizer's settings."""
    own = folder / "chat_template.jinja"
    template: str | None = (
        own.read_text("utf-8") if own.is_file() else settings.get("chat_template")
    )
    if not template:
        raise ExportError(f"{folder} has no chat template")
    return template


def add_tensors(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    """Every tensor: matrices as f16, norms as f32; a tied output layer is left out."""
    path = folder / "model.safetensors"
    if not path.is_file():
        raise ExportError(f"{path} is missing (sharded checkpoints are not written)")
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tied = config.get("tie_word_embeddings", False)
    for name, weight in sorted(load_file(path).items()):
        if tied and name == "lm_head.weight":
            continue
        target = tensor_name(name)
        kind = target.removesuffix(".weight").rsplit(".", 1)[-1]
        ordered = interleaved(weight, heads[kind]) if kind in heads else weight
        dtype = np.float32 if weight.ndim == 1 else np.float16
        writer.add_tensor(target, np.ascontiguousarray(ordered.astype(dtype)))


def export_gguf(checkpoint_dir: str | Path, path: str | Path, name: str = "lmconf-tiny") -> str:
    """Write the checkpoint as `path` and return the file's SHA-256; `path` appears whole or not at all.

    Raises ExportError for a folder that is no Llama checkpoint with a byte-level BPE tokenizer.
    """
    folder, target = Path(checkpoint_dir), Path(path)
    config = read_json(folder / "config.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    try:
        writer.add_name(name)
        writer.add_license("Apache-2.0")
        add_architecture(writer, config)
        add_tokenizer(writer, folder, config["vocab_size"])
        add_tensors(writer, folder, config)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(target.read_bytes()).hexdigest()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} CHECKPOINT_DIR OUT.gguf")
    print(export_gguf(sys.argv[1], sys.argv[2]))
