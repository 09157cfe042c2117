"""What a profile says of the server that is started for an LM."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.schema import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Record,
    Referable,
    Shape,
    Size,
    Text,
)
from lmconf.schema.declaration import Spec, identity, operations
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Reference

LAUNCHER_NAMES = ("llama_cpp", "sglang", "vllm", "transformers", "ollama", "command")
"""Every kind that a profile may name; `lmconf.launchers.KINDS` holds those that can start."""

_WORD = Text(what="a word")
ARGUMENT: Shape = Either(
    (
        Flag(),
        Integer(),
        Number(),
        Referable(Text(empty=True)),
        ListOf(Either((Integer(), Number(), _WORD))),
        Json(mapping=True),
    )
)


class Ready(Spec, frozen=True, kw_only=True):
    """When a server counts as started."""

    path: Annotated[
        str | None,
        operations(Text(), "The path that must answer 200; left out, the kind's own."),
    ] = None
    model: Annotated[
        bool,
        operations(Flag(), "Whether that path must list the model; false: 200 is enough."),
    ] = True
    timeout: Annotated[
        float,
        operations(Duration(), "How long starting may take.", examples=("10min",)),
    ] = 120.0
    interval: Annotated[float, operations(Duration(), "How often it is asked.")] = 0.1


class ServerLog(Spec, frozen=True, kw_only=True):
    """Where a server's output goes."""

    path: Annotated[
        str | None,
        operations(
            Text(what="a path", path="path"), "The file; left out, one in the state folder."
        ),
    ] = None
    size: Annotated[int, operations(Size(), "How much of it is kept.")] = 4 * 2**20


class LaunchSpec(Spec, frozen=True, kw_only=True):
    """A local server: how it is started, watched and ended."""

    use: Annotated[
        str | None,
        identity(
            Choice(LAUNCHER_NAMES),
            "The kind of server; left out, the LM's `provider` says it.",
        ),
    ] = None
    weights: Annotated[
        str | None,
        identity(
            Text(what="a path or a model's name", path="dotted"),
            "What is loaded, when it differs from the served name; a path is relative to the"
            " profile that states it.",
            examples=("./models/tiny.gguf",),
            kinds=("llama_cpp", "sglang", "vllm", "transformers", "command"),
        ),
    ] = None
    port: Annotated[
        int, operations(Integer(0, 65535), "The port; 0 takes a free one.", examples=(7501,))
    ] = 0
    host: Annotated[
        str, operations(Text(what="a host"), "The address to listen on.", tells_apart=True)
    ] = "127.0.0.1"
    args: Annotated[
        FrozenMap[str, object],
        identity(
            MapOf(ARGUMENT, secrets=True),
            "The server's own arguments, by name.",
            examples=({"tp-size": 1},),
            kinds=("llama_cpp", "sglang", "vllm", "transformers"),
        ),
    ] = FrozenMap()
    raw_args: Annotated[
        tuple[str, ...],
        identity(
            ListOf(Text(what="a word", empty=True)),
            "Words that follow on the command line as they stand: for flags that `args` does not"
            " know yet.",
            examples=(["--brand-new-flag", "3"],),
            kinds=("sglang", "vllm", "transformers", "ollama"),
        ),
    ] = ()
    adapters: Annotated[
        FrozenMap[str, str],
        identity(
            MapOf(Text(what="a path or a model's name", path="dotted")),
            "LoRA adapters that are loaded too, by the name they are served under.",
            examples=({"polite": "./adapters/polite"},),
            kinds=("sglang", "vllm"),
        ),
    ] = FrozenMap()
    command: Annotated[
        tuple[str, ...] | None,
        identity(
            ListOf(Text(what="a word", empty=True, path="dotted"), low=1),
            "For `use: command`: the program and its arguments, in which `{port}`, `{host}`,"
            " `{model}` and `{weights}` stand for theirs; no shell reads them. A word that begins"
            " with `./` or `../` is a path, relative to the profile that states it.",
            examples=(["my-server", "--port", "{port}"],),
            kinds=("command",),
        ),
    ] = None
    python: Annotated[
        str | None,
        operations(
            Text(what="a path or a program's name", path="dotted"),
            "The Python interpreter that has the server's package; left out, this one.",
            examples=("~/envs/vllm/bin/python",),
            tells_apart=True,
            kinds=("sglang", "vllm", "transformers"),
        ),
    ] = None
    pull: Annotated[
        bool,
        operations(
            Flag(), "For `use: ollama`: whether a missing model is downloaded.", kinds=("ollama",)
        ),
    ] = False
    env: Annotated[
        FrozenMap[str, str | Reference],
        operations(
            MapOf(Referable(Text(empty=True)), secrets=True),
            "Variables for the server, which otherwise sees a scrubbed environment.",
            tells_apart=True,
        ),
    ] = FrozenMap()
    gpus: Annotated[
        int | None, operations(Integer(0), "How many GPUs the server may see.", tells_apart=True)
    ] = None
    ready: Annotated[Ready, operations(Record(Ready), "When the server counts as started.")] = (
        Ready()
    )
    stop_grace: Annotated[
        float, operations(Duration(), "How long it may take to end before it is killed.")
    ] = 5.0
    log: Annotated[ServerLog, operations(Record(ServerLog), "Where the server's output goes.")] = (
        ServerLog()
    )
    auto: Annotated[
        Literal["on_first_call", "manual"],
        operations(Choice(("on_first_call", "manual")), "Who starts the server."),
    ] = "on_first_call"
    ttl: Annotated[
        float | None,
        operations(Duration(), "Stop the server after so long without a call."),
    ] = None


LAUNCH = Record(LaunchSpec)
