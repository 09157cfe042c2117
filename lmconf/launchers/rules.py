"""What must hold within a `launch_kwargs` block, beyond the shape of each field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lmconf import launchers
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.launchers.flags import Flags, explain_mismatch, find_flag
from lmconf.launchers.specs import LAUNCHER_NAMES, LaunchSpec
from lmconf.providers.catalogue import record_of
from lmconf.schema.declaration import fields
from lmconf.schema.fault import Fault, unknown_kind
from lmconf.schema.lookup import UnreadableValue
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["check_launch", "field_applies", "flags_of", "kind_of_model"]

Data = Mapping[str, Any]

_INSTEAD = {
    ("args", "ollama"): "Ollama is configured by variables: `env: {OLLAMA_CONTEXT_LENGTH: …}`",
    ("args", "command"): "write the arguments into `command`",
    ("raw_args", "command"): "write them into `command`",
    ("raw_args", "llama_cpp"): "this server runs inside Python: `args` holds all that it takes",
    ("weights", "ollama"): "the LM's model names what Ollama loads",
    ("adapters", "ollama"): "make a model with `ADAPTER` in its Modelfile",
}

_OWN = {
    "host": "host",
    "port": "port",
    "model": "weights",
    "model-path": "weights",
    "served-model-name": "model",
    "alias": "model",
    "lora-paths": "adapters",
    "lora-modules": "adapters",
}
"""Flags that lmconf writes itself, and the field that says what they do."""


def kind_of_model(provider: str, model: str, server: Data) -> str | None:
    """Return the kind of server that an LM which says none is for; None where nothing tells."""
    if server.get("command") is not None:
        return "command"
    implied = record_of(provider).launcher
    if implied is not None:
        return implied
    weights = server.get("weights", model)
    if isinstance(weights, str) and weights.lower().endswith(".gguf"):
        return "llama_cpp"
    return None


def field_applies(field: str, kind: str) -> bool:
    """Say whether `field` of the block means something to a `kind` of server."""
    kinds = fields(LaunchSpec)[field].kinds
    return not kinds or (kind if kind in LAUNCHER_NAMES else "*") in kinds


def flags_of(kind: str) -> Flags:
    """Return what `args` may name for a `kind` of server, but what lmconf writes itself."""
    return {name: takes for name, takes in _flags(kind).items() if name not in _OWN}


def check_launch(server: Data, kind: object) -> Iterator[Fault]:
    """Yield what is wrong in `server`, a block for the `kind` of server; paths begin in it."""
    if not isinstance(kind, str):
        return
    if kind not in launchers.REGISTRY.names():
        yield unknown_kind(launchers.REGISTRY.unknown(kind), ("use",))
        return
    for name, field in fields(LaunchSpec).items():
        value = server.get(name)
        if value and not field_applies(name, kind) and not isinstance(value, UnreadableValue):
            yield _misplaced_field(name, kind, tuple(k for k in field.kinds if k != "*"))
    if kind == "command" and not server.get("command"):
        yield Fault(
            "missing-key",
            (),
            "`use: command` needs the command",
            help='add `command: ["my-server", "--port", "{port}"]`',
            at_key=True,
        )
    if kind in LAUNCHER_NAMES and field_applies("args", kind):
        yield from _check_args(server.get("args"), kind)
    for name in ("raw_args", "command"):
        yield from _check_words(server.get(name), name)
    yield from _check_port(server, kind)


def _misplaced_field(field: str, kind: str, kinds: tuple[str, ...]) -> Fault:
    return Fault(
        "contradiction",
        (field,),
        f"`{field}` belongs to `use: {' | '.join(kinds)}`, not to `use: {kind}`",
        help=_INSTEAD.get(
            (field, kind),
            f"leave it out, or write `use: {kinds[0]}`" if len(kinds) == 1 else "leave it out",
        ),
        at_key=True,
    )


def _check_args(args: object, kind: str) -> Iterator[Fault]:
    if not isinstance(args, Mapping) or not args:
        return
    flags = _flags(kind)
    for name, value in args.items():
        flag = find_flag(name, flags)
        path = ("args", name)
        field = _OWN.get(name.replace("_", "-"))
        if field is not None:
            yield Fault(
                "contradiction",
                path,
                f"lmconf sets `{name}` itself",
                help="the name it is served under follows from the LM's `model`"
                if field == "model"
                else f"use `launch_kwargs.{field}`",
                at_key=True,
            )
        elif flag is None:
            near = did_you_mean(name, flags)
            hatch = "" if kind == "llama_cpp" else "; flags newer than lmconf go under `raw_args`"
            yield Fault(
                "unknown-key",
                path,
                f"{kind} has no argument `{name}`",
                label=f"did you mean `{near}`?" if near else "",
                help=f"arguments are spelled as the server's own flags, without dashes{hatch}",
                at_key=True,
            )
        elif not isinstance(value, UnreadableValue) and (
            expected := explain_mismatch(flags[flag], value)
        ):
            yield Fault("wrong-type", path, f"`{name}` must be {expected}")


def _flags(kind: str) -> Flags:
    if kind == "llama_cpp":
        from lmconf.launchers.flags_llama_cpp import FLAGS
    elif kind == "sglang":
        from lmconf.launchers.flags_sglang import FLAGS
    elif kind == "vllm":
        from lmconf.launchers.flags_vllm import FLAGS
    else:
        from lmconf.launchers.flags_transformers import FLAGS
    return FLAGS


_FLAG = re.compile(r"--?([A-Za-z][\w.-]*)(=(.*))?\Z", re.DOTALL)


def _check_words(words: object, field: str) -> Iterator[Fault]:
    """Find secrets: a command line is public on a machine."""
    if not isinstance(words, list | tuple):
        return
    before = ""
    for index, word in enumerate(words):
        if not isinstance(word, str):
            before = ""
            continue
        match = _FLAG.match(word)
        secret = match is not None and is_secret_name(match[1]) and bool(match[3])
        if secret or (before and not match and word):
            yield Fault(
                "literal-secret",
                (field, index),
                f"`{field}` contains a secret, and every user of this machine can read it",
                help="pass it to the server as an environment variable: `env: {NAME: {$env: NAME}}`",
            )
        before = match[1] if match and not match[2] and is_secret_name(match[1]) else ""


def _check_port(server: Data, kind: str) -> Iterator[Fault]:
    words = server.get("command")
    if kind != "command" or not isinstance(words, list | tuple) or server.get("port"):
        return
    if all(isinstance(word, str) for word in words) and not any("{port}" in word for word in words):
        yield Fault(
            "missing-key",
            ("command",),
            "the command does not say `{port}`, and no `port` is stated: nothing tells where the"
            " server listens",
            help='add `{port}`, as in `"--port", "{port}"`, or state the `port` it uses',
            at_key=True,
        )
