"""Writes trained weights as a GGUF file: everything but the tensors is taken from an older one.

The older file is one of the same model before its training. So tokenizer, chat template and all
else that llama.cpp reads stay what they were. Only weights of the Llama kind are known here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
FIXED = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


class ExportError(Exception):
    """The weights are not those of the model in the older file."""


def export(weights: Path, older: Path, target: Path) -> None:
    """Write the Llama weights in the folder `weights` to `target`, with the rest from `older`.

    Matrices become f16 and norms f32. `target` appears whole or not at all.

    Raises:
        ExportError: `weights` are of another kind, or do not fit `older`.
    """
    import gguf

    config: dict[str, Any] = json.loads((weights / "config.json").read_text("utf-8"))
    if config.get("model_type") != "llama":
        raise ExportError(f"weights of the kind {config.get('model_type')!r} are not known here")
    reader = gguf.GGUFReader(older)
    partial = target.with_name(target.name + ".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    try:
        _copy_fields(gguf, reader, writer)
        _add_tensors(reader, writer, weights, config)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _copy_fields(gguf: Any, reader: Any, writer: Any) -> None:
    arrays = gguf.GGUFValueType.ARRAY
    for field in reader.fields.values():
        # The first three and the architecture are written by the writer itself.
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == arrays else None
        value = field.contents()
        if field.name == "general.file_type":
            value = int(gguf.LlamaFileType.MOSTLY_F16)
        writer.add_key_value(field.name, value, kind, sub_type=inner)


def _add_tensors(reader: Any, writer: Any, weights: Path, config: dict[str, Any]) -> None:
    import numpy as np

    shapes = {
        tensor.name: tuple(int(n) for n in reversed(tensor.shape)) for tensor in reader.tensors
    }
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    has_tied_embeddings = config.get("tie_word_embeddings", False)
    for name, weight in sorted(_load_tensors(weights).items()):
        if has_tied_embeddings and name == "lm_head.weight":
            continue
        target = _tensor_name(name)
        if shapes.pop(target, None) != weight.shape:
            raise ExportError(f"{name} {weight.shape} is not in the older file in this shape")
        kind = target.removesuffix(".weight").rsplit(".", 1)[-1]
        values = _interleave_rotary(weight, heads[kind]) if kind in heads else weight
        dtype = np.float32 if weight.ndim == 1 else np.float16
        writer.add_tensor(target, np.ascontiguousarray(values.astype(dtype)))
    missing = [name for name in shapes if name != "rope_freqs.weight"]
    if missing:
        raise ExportError(f"the weights lack {', '.join(missing[:5])}")


def _load_tensors(weights: Path) -> dict[str, Any]:
    """Return all tensors as f32; torch reads them, for numpy knows no bfloat16."""
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for file in sorted(weights.glob("*.safetensors")):
        tensors |= {name: tensor.float().numpy() for name, tensor in load_file(file).items()}
    return tensors


def _interleave_rotary(weight: Any, heads: int) -> Any:
    """Return the rows of a q or k projection in llama.cpp's order: a rotary pair is adjacent."""
    rows = weight.shape[0]
    halves = weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _tensor_name(name: str) -> str:
    if name in FIXED:
        return FIXED[name]
    layer, _, inner = name.removeprefix("model.layers.").partition(".")
    inner = inner.removesuffix(".weight")
    if not name.startswith("model.layers.") or inner not in LAYER_TENSORS:
        raise ExportError(f"there is no place in a GGUF file for the tensor {name!r}")
    return f"blk.{layer}.{LAYER_TENSORS[inner]}.weight"
