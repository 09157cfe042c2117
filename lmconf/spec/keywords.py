"""What calls and LMs take by keyword, with types that editors and type checkers read.

    def ask_twice(lm: LM, prompt: str, **settings: Unpack[CallSettings]) -> list[str]: ...

Written by `make generate` from the spec types; a change belongs there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from lmconf.schema.declaration import Spec
from lmconf.secrets.references import Reference

__all__ = ["CallSettings", "CopySettings", "LMSettings"]


class CallSettings(TypedDict, total=False):
    """The settings that a single call may change."""

    temperature: float | None
    """The sampling temperature; null leaves it out."""
    max_tokens: int | None
    """The most tokens of an answer; null leaves it out."""
    stop: Sequence[str] | str | Mapping[str, Any] | None
    """Texts that end the answer."""
    n: int | None
    """How many answers to one prompt."""
    top_p: float | None
    """Nucleus sampling's share of probability."""
    seed: int | None
    """Makes sampling repeatable where supported."""
    frequency_penalty: float | None
    """Discourages repeated tokens."""
    presence_penalty: float | None
    """Discourages tokens already present."""
    logprobs: bool | int | None
    """Whether log probabilities come back (a count for `model_type: text`)."""
    top_logprobs: int | None
    """How many alternatives come with each log probability."""
    logit_bias: Mapping[str, float] | None
    """Raises or lowers single tokens, by id."""
    response_format: Mapping[str, Any] | type | None
    """The form of the answer, as the OpenAI API writes it."""
    tools: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None
    """Tools the model may call."""
    tool_choice: str | Mapping[str, Any] | None
    """`auto`, `none`, `required`, or a tool."""
    parallel_tool_calls: bool | None
    """Whether several tools may be called at once."""
    reasoning_effort: str | None
    """How long a reasoning model thinks, in the model's own words."""
    thinking: Mapping[str, Any] | None
    """A thinking budget, as the Anthropic API writes it."""
    verbosity: Literal["low", "medium", "high"] | None
    """How long answers are."""
    modalities: Sequence[str] | Mapping[str, Any] | None
    """Kinds of output to produce."""
    service_tier: str | None
    """The provider's tier of service."""
    user: str | None
    """An end user's id, for the provider."""
    metadata: Mapping[str, Any] | None
    """Labels that the provider keeps with the call."""
    rollout_id: int | str | None
    """Asks anew for an answer that is already cached; never sent."""
    extra: Mapping[str, Any]
    """Extra keys for the request's body, sent unchanged."""
    headers: Mapping[str, str | Reference | Mapping[str, Any]]
    """HTTP headers sent with every request."""
    num_retries: int
    """How often a failed request is sent again."""
    retry: Mapping[str, Any] | Spec
    """How and after what to try again."""
    timeout: Mapping[str, Any] | Spec | float | str
    """How long one attempt may take."""
    deadline: float | str
    """How long a call may take in all, waits included."""
    max_body: int | str
    """The largest size of an answer, uncompressed."""
    cache: Mapping[str, Any] | Spec | bool
    """How answers are cached."""
    cache_in_memory: bool
    """Whether answers are also cached in this process."""


class LMSettings(CallSettings, total=False):
    """The settings of an LM, beside its model."""

    base_model: str | None
    """The model behind a deployment's name: it decides the model family's rules and price."""
    provider: str | None
    """Shorthand for `launch_kwargs.use` and `train_kwargs.use`."""
    api_key: str | Reference | Mapping[str, Any] | None
    """The credential. Left out, the provider's usual variable; `""` sends none."""
    api_base: str | Reference | Mapping[str, Any] | None
    """The server's address, in place of the provider's own."""
    api_version: str | Reference | Mapping[str, Any] | None
    """The API's version."""
    api_type: str | Reference | Mapping[str, Any] | None
    """`azure_ad`: Azure's `api_key` is a token."""
    organization: str | Reference | Mapping[str, Any] | None
    """The account's organization."""
    project: str | Reference | Mapping[str, Any] | None
    """The account's project."""
    endpoint: str | None
    """Names where answers come from, in place of the address, in cache keys."""
    allow_http: bool
    """Whether plain http may leave this machine."""
    aws_region_name: str | Reference | Mapping[str, Any] | None
    """AWS region."""
    aws_profile_name: str | Reference | Mapping[str, Any] | None
    """Profile of the AWS configuration files."""
    aws_access_key_id: str | Reference | Mapping[str, Any] | None
    """AWS access key id."""
    aws_secret_access_key: str | Reference | Mapping[str, Any] | None
    """AWS secret access key."""
    aws_session_token: str | Reference | Mapping[str, Any] | None
    """AWS session token."""
    azure_ad_token: str | Reference | Mapping[str, Any] | None
    """Azure Active Directory token."""
    vertex_project: str | Reference | Mapping[str, Any] | None
    """Google Cloud project."""
    vertex_location: str | Reference | Mapping[str, Any] | None
    """Google Cloud region."""
    vertex_credentials: str | Reference | Mapping[str, Any] | None
    """Google Cloud credentials (a JSON key file)."""
    callbacks: Sequence[object] | str
    """Who receives the events of calls: names from `callbacks`, or callbacks written in place."""
    history: Mapping[str, Any] | Spec | bool
    """What is recorded of calls."""
    limits: Mapping[str, Any] | Spec | None
    """Limits on rates and concurrency."""
    budget: Mapping[str, Any] | Spec | None
    """What may be spent."""
    pricing: Mapping[str, Any] | Spec | None
    """What tokens cost; left out, LiteLLM's price table."""
    transport: Mapping[str, Any] | Spec | str
    """What carries the request."""
    launch_kwargs: Mapping[str, Any] | Spec | None
    """The local server behind this LM."""
    finetuning_model: str | None
    """The model that is fine-tuned, when it differs from `model`."""
    train_kwargs: Mapping[str, Any] | Spec | None
    """How it is fine-tuned."""
    provenance: Mapping[str, Any]
    """Where this LM comes from; kept, never used."""
    fallbacks: Sequence[str | Mapping[str, Any] | Spec] | str | Mapping[str, Any] | Spec
    """LMs that answer when this one cannot, in the order in which they are asked."""
    fallback_on: Sequence[str] | str | Mapping[str, Any]
    """The failures after which the next of `fallbacks` is asked."""
    pool: Sequence[str | Mapping[str, Any] | Spec] | Mapping[str, Any]
    """Deployments of one model, of which each attempt asks one; `model` is then left out."""
    pick: Literal["least_busy", "round_robin", "weighted"]
    """Which of a pool's members is asked."""
    weights: Sequence[float] | Mapping[str, Any]
    """For `pick: weighted`: the share of each of the pool's members."""


class CopySettings(LMSettings, total=False):
    """The settings that a copy of an LM may change."""

    model: str
    """The model: `provider/name`."""
    model_type: Literal["chat", "text", "responses"]
    """Which of the provider's APIs is asked."""
