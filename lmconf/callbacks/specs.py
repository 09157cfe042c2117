"""What a profile says of who is told about calls."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from lmconf.callbacks.litellm_names import LITELLM_LOGGERS
from lmconf.callbacks.record_redaction import ENTRY
from lmconf.schema import Choice, Flag, Integer, Json, Kinds, ListOf, Record, Size, Text
from lmconf.schema.declaration import Spec, operations
from lmconf.schema.frozen import FrozenMap


class LogCallback(Spec, frozen=True, kw_only=True):
    """Writes one structlog event a call."""

    use: Annotated[
        Literal["log"], operations(Choice(("log",)), "The kind of callback.", untrusted=True)
    ]
    level: Annotated[
        Literal["debug", "info", "warning"],
        operations(
            Choice(("debug", "info", "warning")),
            "The level of a call that succeeds.",
            untrusted=True,
        ),
    ] = "info"


class JsonlCallback(Spec, frozen=True, kw_only=True):
    """Appends one JSON record a call to a file."""

    __risk__ = "write files"

    use: Annotated[Literal["jsonl"], operations(Choice(("jsonl",)), "The kind of callback.")]
    path: Annotated[
        str,
        operations(
            Text(what="a path", path="path"),
            "The file; relative to the profile that states it.",
            examples=("runs/calls.jsonl",),
        ),
    ]
    content: Annotated[bool, operations(Flag(), "Whether prompts and answers are written too.")] = (
        True
    )
    max_size: Annotated[
        int, operations(Size(), "At this size the file is rotated to `<path>.1`.")
    ] = 64 * 2**20
    keep: Annotated[
        int, operations(Integer(1), "How many rotated files are kept: `<path>.1`, `<path>.2`, …")
    ] = 1
    redact: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Text(ENTRY, what="a path, or a pattern between slashes")),
            "What is written as `***`: paths into a record, where `*` stands for every item, and"
            " regular expressions between slashes, which are searched for in every text.",
            examples=(("request.messages.*.content", r"/\b\d{16}\b/"),),
        ),
    ] = ()


class OtelCallback(Spec, frozen=True, kw_only=True):
    """Reports calls as OpenTelemetry spans and metrics."""

    __risk__ = "send what is said to another service"

    use: Annotated[Literal["otel"], operations(Choice(("otel",)), "The kind of callback.")]
    content: Annotated[
        bool, operations(Flag(), "Whether prompts and answers are reported too.")
    ] = False


class MeterCallback(Spec, frozen=True, kw_only=True):
    """Adds up usage, cost, hit rate and latency, for `lmconf meter` to print."""

    __risk__ = "write files"

    use: Annotated[Literal["meter"], operations(Choice(("meter",)), "The kind of callback.")]
    path: Annotated[
        str | None,
        operations(
            Text(what="a path", path="path"),
            "The file that keeps the totals, which processes share; left out, one in the user's"
            " state folder.",
            examples=("runs/meter.json",),
        ),
    ] = None


class LiteLLMLoggerArgs(Spec, frozen=True, kw_only=True):
    """Which of LiteLLM's loggers is meant."""

    name: Annotated[
        str,
        operations(
            Choice(tuple(LITELLM_LOGGERS)),
            "The logger's name. It reads its own settings from the environment, as LiteLLM's"
            " documentation says.",
            examples=("langfuse",),
        ),
    ]


class LiteLLMLogger(Spec, frozen=True, kw_only=True):
    """Hands calls to one of LiteLLM's named loggers."""

    __risk__ = "send what is said to another service"

    use: Annotated[
        Literal["litellm_logger"], operations(Choice(("litellm_logger",)), "The kind of callback.")
    ]
    args: Annotated[LiteLLMLoggerArgs, operations(Record(LiteLLMLoggerArgs), "Which logger.")]


class CustomCallback(Spec, frozen=True, kw_only=True):
    """A callback of one's own: a registered name, or an import path that was allowed."""

    __risk__ = "name code to import, or to run"

    use: Annotated[
        str,
        operations(
            Text(what="a registered name or `module:attribute`"),
            "The kind of callback.",
            examples=("acme_lm.hooks:CostMeter",),
        ),
    ]
    args: Annotated[
        FrozenMap[str, Any], operations(Json(mapping=True), "Keyword arguments for it.")
    ] = FrozenMap()


CallbackSpec = (
    LogCallback | JsonlCallback | OtelCallback | MeterCallback | LiteLLMLogger | CustomCallback
)
CALLBACK_SPECS: dict[str, type[Spec]] = {
    "log": LogCallback,
    "jsonl": JsonlCallback,
    "otel": OtelCallback,
    "meter": MeterCallback,
    "litellm_logger": LiteLLMLogger,
    "*": CustomCallback,
}
CALLBACK = Kinds("use", CALLBACK_SPECS)
