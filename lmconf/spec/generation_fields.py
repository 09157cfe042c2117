"""The model of an LM, and the settings of its answers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from lmconf.providers.families import EFFORTS
from lmconf.schema import (
    Choice,
    Either,
    Flag,
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Text,
    nullable,
)
from lmconf.schema.declaration import Spec, identity, operations, setting
from lmconf.schema.frozen import FrozenMap

__all__ = ["GenerationFields", "ModelType"]

JsonMap = FrozenMap[str, Any]
ModelType = Literal["chat", "text", "responses"]

_TEXT = Text()


class GenerationFields(Spec, frozen=True, kw_only=True):
    """Which model answers, and how."""

    __part__: ClassVar[bool] = True

    # The model
    model: Annotated[
        str,
        identity(
            Text(what="a model such as `openai/gpt-4o-mini`"),
            "The model: `provider/name`.",
            examples=("openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"),
            untrusted=True,
            locates=True,
        ),
    ]
    model_type: Annotated[
        ModelType,
        identity(
            Choice(("chat", "text", "responses")),
            "Which of the provider's APIs is asked.",
            untrusted=True,
            in_dspy="always",
        ),
    ] = "chat"
    base_model: Annotated[
        str | None,
        identity(
            Text(what="a model"),
            "The model behind a deployment's name: it decides the model family's rules and price.",
            examples=("openai/o3-mini",),
            bound_to="model",
            risk="choose by which price it is charged to a budget",
        ),
    ] = None
    provider: Annotated[
        str | None,
        operations(
            Text(what="a kind of launcher or trainer"),
            "Shorthand for `launch_kwargs.use` and `train_kwargs.use`.",
            examples=("sglang",),
            locates=True,
            in_pool="member",
            risk="start a server, or a training",
        ),
    ] = None

    # Generation
    temperature: Annotated[
        float | None,
        setting(
            nullable(Number(0, 2)),
            "The sampling temperature; null leaves it out.",
            ruled_by_family=True,
            in_dspy="always",
        ),
    ] = 0.0
    max_tokens: Annotated[
        int | None,
        setting(
            nullable(Integer(1)),
            "The most tokens of an answer; null leaves it out.",
            ruled_by_family=True,
            in_dspy="always",
        ),
    ] = 1000
    stop: Annotated[
        tuple[str, ...] | None,
        setting(
            nullable(ListOf(_TEXT, single=True)), "Texts that end the answer.", examples=(["\n"],)
        ),
    ] = None
    n: Annotated[
        int | None,
        setting(
            nullable(Integer(1, 128)), "How many answers to one prompt.", on_fallback="require"
        ),
    ] = None
    top_p: Annotated[
        float | None,
        setting(
            nullable(Number(0, 1)), "Nucleus sampling's share of probability.", ruled_by_family=True
        ),
    ] = None
    seed: Annotated[
        int | None, setting(nullable(Integer()), "Makes sampling repeatable where supported.")
    ] = None
    frequency_penalty: Annotated[
        float | None, setting(nullable(Number(-2, 2)), "Discourages repeated tokens.")
    ] = None
    presence_penalty: Annotated[
        float | None, setting(nullable(Number(-2, 2)), "Discourages tokens already present.")
    ] = None
    logprobs: Annotated[
        bool | int | None,
        setting(
            nullable(Either((Flag(), Integer(0, 20)))),
            "Whether log probabilities come back (a count for `model_type: text`).",
        ),
    ] = None
    top_logprobs: Annotated[
        int | None,
        setting(nullable(Integer(0, 20)), "How many alternatives come with each log probability."),
    ] = None
    logit_bias: Annotated[
        FrozenMap[str, float] | None,
        setting(
            nullable(MapOf(Number(-100, 100))),
            "Raises or lowers single tokens, by id.",
            on_fallback="drop",
        ),
    ] = None
    response_format: Annotated[
        JsonMap | None,
        setting(
            nullable(Json(mapping=True)),
            "The form of the answer, as the OpenAI API writes it.",
            examples=({"type": "json_object"},),
            on_fallback="require",
        ),
    ] = None
    tools: Annotated[
        tuple[JsonMap, ...] | None,
        setting(
            nullable(ListOf(Json(mapping=True))), "Tools the model may call.", on_fallback="require"
        ),
    ] = None
    tool_choice: Annotated[
        str | JsonMap | None,
        setting(
            nullable(Either((Text(), Json(mapping=True)))),
            "`auto`, `none`, `required`, or a tool.",
            on_fallback="require",
        ),
    ] = None
    parallel_tool_calls: Annotated[
        bool | None, setting(nullable(Flag()), "Whether several tools may be called at once.")
    ] = None
    reasoning_effort: Annotated[
        str | None,
        setting(
            nullable(_TEXT),  # a newer model may know other words than those of today
            "How long a reasoning model thinks, in the model's own words.",
            examples=EFFORTS,
        ),
    ] = None
    thinking: Annotated[
        JsonMap | None,
        setting(
            nullable(Json(mapping=True)),
            "A thinking budget, as the Anthropic API writes it.",
            on_fallback="drop",
        ),
    ] = None
    verbosity: Annotated[
        str | None, setting(nullable(Choice(("low", "medium", "high"))), "How long answers are.")
    ] = None
    modalities: Annotated[
        tuple[str, ...] | None,
        setting(nullable(ListOf(_TEXT)), "Kinds of output to produce.", on_fallback="require"),
    ] = None
    service_tier: Annotated[
        str | None,
        operations(
            nullable(_TEXT),
            "The provider's tier of service.",
            sent=True,
            per_call=True,
            untrusted=True,
            in_pool="shared",
            on_fallback="drop",
        ),
    ] = None
    user: Annotated[
        str | None,
        operations(
            nullable(_TEXT),
            "An end user's id, for the provider.",
            sent=True,
            per_call=True,
            in_pool="shared",
            risk="label calls in the name of others",
        ),
    ] = None
    metadata: Annotated[
        JsonMap | None,
        operations(
            nullable(Json(mapping=True)),
            "Labels that the provider keeps with the call.",
            sent=True,
            per_call=True,
            in_pool="shared",
            holds_secrets=True,
            risk="label calls in the name of others",
        ),
    ] = None
    rollout_id: Annotated[
        str | int | None,
        identity(
            nullable(Either((Integer(), Text()))),
            "Asks anew for an answer that is already cached; never sent.",
            per_call=True,
            untrusted=True,
        ),
    ] = None
    extra: Annotated[
        JsonMap,
        identity(
            Json(mapping=True),
            "Goes into the request's body as it stands: the one door for keys unknown here.",
            examples=({"top_k": 40},),
            per_call=True,
            untrusted=True,
            holds_secrets=True,
            on_fallback="drop",
        ),
    ] = FrozenMap()
