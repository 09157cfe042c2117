"""`LMSpec`: everything that a profile can say of one LM, each field declared once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from lmconf.caches.specs import CACHE, CachePolicy
from lmconf.callbacks.specs import CALLBACK, CallbackSpec
from lmconf.launchers.specs import LAUNCH, LaunchSpec
from lmconf.limits.specs import Limits
from lmconf.providers.families import EFFORTS
from lmconf.retries.specs import FALLBACK_DEFAULT, FALLBACK_REASONS, RetryPolicy
from lmconf.schema.declaration import Spec, connection, identity, operations, secret, setting
from lmconf.schema.frozen import FrozenMap
from lmconf.schema.shapes import (
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
    Secret,
    Size,
    Text,
    nullable,
)
from lmconf.secrets.references import Reference
from lmconf.spec.policies import HISTORY, TIMEOUT, Budget, HistoryPolicy, Pricing, TimeoutSpec
from lmconf.trainers.specs import TRAIN, TrainSpec
from lmconf.transports.specs import TRANSPORT, TransportSpec

Address = str | Reference
JsonMap = FrozenMap[str, Any]
ModelType = Literal["chat", "text", "responses"]

_ADDRESS = Referable(Text(what="an http(s) address", pattern=r"^https?://[^\s/]\S*$"))
_TEXT = Text()
REGION_PATTERN = r"^[A-Za-z0-9-]+$"
"""What a region may be: it becomes a part of a host's name."""

REGION = Referable(Text(what="a region such as `us-east-1`", pattern=REGION_PATTERN))


class SoleLMSpec(Spec, frozen=True, kw_only=True):
    """One LM that falls back on no other."""

    __hints__: ClassVar[Mapping[str, str]] = {
        "max_completion_tokens": "write `max_tokens`: it is sent under the name the model wants",
        "base_url": "write `api_base`",
        "key": "write `api_key: {$env: NAME}`",
        "top_k": "keys that only some servers know go under `extra`: `extra: {top_k: …}`",
        "min_p": "keys that only some servers know go under `extra`: `extra: {min_p: …}`",
        "repetition_penalty": "keys that only some servers know go under `extra`",
        "extra_body": "write `extra`",
        "extra_headers": "write `headers`",
        "max_retries": "write `num_retries`",
        "retries": "write `num_retries`",
        "caching": "write `cache`",
        "kwargs": "write the settings themselves, or `extra` for the request's body",
        # Of an LM in place, which lacks them:
        "fallbacks": "list them all in the LM that is called: a fallback's are not asked",
        "fallback_on": "state it in the LM that is called",
        "pool": "list its members here: a pool is neither a fallback nor a member of a pool",
    }

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

    # Connection
    api_key: Annotated[
        str | Reference | None,
        secret(
            Secret(),
            'The credential. Left out, the provider\'s usual variable; `""` sends none.',
            examples=({"$env": "OPENAI_API_KEY"},),
            untrusted=True,
        ),
    ] = None
    api_base: Annotated[
        Address | None,
        connection(
            _ADDRESS,
            "The server's address, in place of the provider's own.",
            examples=("http://localhost:11434",),
            locates=True,
            bound_to="server",
            risk="choose where prompts are sent",
        ),
    ] = None
    api_version: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The API's version.",
            examples=("2024-10-21",),
            cloud="place",
            tells_apart=True,
            risk="choose which API is asked",
        ),
    ] = None
    api_type: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "`azure_ad`: Azure's `api_key` is a token.",
            cloud="place",
            risk="choose how the credential is sent",
        ),
    ] = None
    organization: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The account's organization.",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    project: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "The account's project.",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    headers: Annotated[
        FrozenMap[str, Address],
        connection(
            MapOf(Referable(Text(empty=True)), secrets=True),
            "HTTP headers sent with every request.",
            examples=({"X-Team": {"$env": "TEAM_TOKEN", "format": "team {}"}},),
            per_call=True,
            bound_to="server",
            holds_secrets=True,
            on_fallback="drop",
            risk="add to what is said to the server",
        ),
    ] = FrozenMap()
    endpoint: Annotated[
        str | None,
        identity(
            _TEXT,
            "Names where answers come from, in place of the address, in cache keys.",
            in_pool=None,
            in_dspy=False,
            risk="answer for other addresses",
        ),
    ] = None
    allow_http: Annotated[
        bool,
        connection(
            Flag(),
            "Whether plain http may leave this machine.",
            in_dspy=False,
            risk="allow unencrypted connections",
        ),
    ] = False
    aws_region_name: Annotated[
        Address | None,
        connection(
            REGION,
            "AWS region.",
            cloud="place",
            tells_apart=True,
            risk="choose where prompts are sent",
        ),
    ] = None
    aws_profile_name: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "Profile of the AWS configuration files.",
            cloud="credential",
            bound_to="account",
            risk="choose an account of this machine",
        ),
    ] = None
    aws_access_key_id: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS access key id.", cloud="credential", untrusted=True),
    ] = None
    aws_secret_access_key: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS secret access key.", cloud="account", untrusted=True),
    ] = None
    aws_session_token: Annotated[
        str | Reference | None,
        secret(Secret(), "AWS session token.", cloud="account", untrusted=True),
    ] = None
    azure_ad_token: Annotated[
        str | Reference | None,
        secret(Secret(), "Azure Active Directory token.", cloud="account", untrusted=True),
    ] = None
    vertex_project: Annotated[
        Address | None,
        connection(
            Referable(_TEXT),
            "Google Cloud project.",
            cloud="account",
            tells_apart=True,
            risk="choose which account pays",
        ),
    ] = None
    vertex_location: Annotated[
        Address | None,
        connection(
            REGION,
            "Google Cloud region.",
            cloud="place",
            tells_apart=True,
            risk="choose where prompts are sent",
        ),
    ] = None
    vertex_credentials: Annotated[
        str | Reference | None,
        secret(
            Secret(),
            "Google Cloud credentials (a JSON key file).",
            cloud="credential",
            untrusted=True,
        ),
    ] = None

    # Policies
    num_retries: Annotated[
        int,
        operations(
            Integer(0, 100),
            "How often a failed request is sent again.",
            per_call=True,
            untrusted="lower",
            in_dspy="always",
        ),
    ] = 8
    retry: Annotated[
        RetryPolicy,
        operations(
            Record(RetryPolicy), "How and after what to try again.", per_call=True, untrusted=True
        ),
    ] = RetryPolicy()
    timeout: Annotated[
        TimeoutSpec,
        operations(
            TIMEOUT,
            "How long one attempt may take.",
            examples=("60s",),
            per_call=True,
            untrusted=True,
            in_pool="attempt",
        ),
    ] = TimeoutSpec()
    deadline: Annotated[
        float,
        operations(
            Duration(),
            "How long a call may take in all, waits included.",
            examples=("2min",),
            per_call=True,
            untrusted="lower",
        ),
    ] = 1800.0
    max_body: Annotated[
        int,
        operations(
            Size(),
            "The most an answer may weigh, unpacked.",
            examples=("16MiB",),
            per_call=True,
            untrusted="lower",
            in_pool="attempt",
        ),
    ] = 256 * 2**20
    cache: Annotated[
        CachePolicy,
        operations(
            CACHE,
            "How answers are kept.",
            examples=(True, {"ttl": "7d"}),
            per_call=True,
            untrusted=True,
        ),
    ] = CachePolicy()
    cache_in_memory: Annotated[
        bool,
        operations(
            Flag(),
            "Whether answers are also kept in this process.",
            per_call=True,
            untrusted=True,
            in_dspy=True,
        ),
    ] = True
    callbacks: Annotated[
        tuple[str | CallbackSpec, ...],
        operations(
            ListOf(Either((Text(what="a callback's name"), CALLBACK)), single=True),
            "Who is told about calls: names from `callbacks`, or callbacks written in place.",
            examples=(["audit"],),
            untrusted=True,
            holds_secrets=True,
        ),
    ] = ()
    history: Annotated[
        HistoryPolicy,
        operations(
            HISTORY,
            "What is remembered of calls.",
            examples=(False, {"max": 100, "content": False}),
            untrusted=True,
        ),
    ] = HistoryPolicy()
    limits: Annotated[
        Limits | None,
        operations(
            Record(Limits),
            "How much may be asked at once.",
            examples=({"rpm": 500},),
            in_pool="member",
            risk="slow down other LMs of this process",
        ),
    ] = None
    budget: Annotated[
        Budget | None,
        operations(
            Record(Budget),
            "What may be spent.",
            examples=({"cost_usd": 5, "per": "day", "store": {"backend": "disk"}},),
            untrusted=True,
        ),
    ] = None
    pricing: Annotated[
        Pricing | None,
        operations(
            Record(Pricing),
            "What tokens cost; left out, LiteLLM's price table.",
            bound_to="model",
            in_pool="shared",
            risk="choose by which price it is charged to a budget",
        ),
    ] = None
    transport: Annotated[
        TransportSpec,
        operations(
            TRANSPORT,
            "What carries the request.",
            in_pool="member",
            holds_secrets=True,
            risk="choose what carries its requests",
        ),
    ] = TransportSpec()

    # Servers and training
    launch_kwargs: Annotated[
        LaunchSpec | None,
        operations(
            LAUNCH,
            "The local server behind this LM.",
            bound_to="model",
            locates=True,
            in_pool="member",
            risk="start a server",
        ),
    ] = None
    finetuning_model: Annotated[
        str | None,
        operations(
            Text(what="a model"),
            "The model that is fine-tuned, when it differs from `model`.",
            bound_to="model",
            in_dspy=True,
            risk="choose what is trained",
        ),
    ] = None
    train_kwargs: Annotated[
        TrainSpec | None,
        operations(
            TRAIN,
            "How it is fine-tuned.",
            examples=({"n_epochs": 3},),
            bound_to="model",
            in_dspy=True,
            risk="start a training",
        ),
    ] = None
    provenance: Annotated[
        JsonMap,
        operations(
            Json(mapping=True), "Where this LM comes from; kept, never used.", untrusted=True
        ),
    ] = FrozenMap()


class LMSpec(SoleLMSpec, frozen=True, kw_only=True):
    """One LM."""

    fallbacks: Annotated[
        tuple[str | SoleLMSpec, ...],
        operations(
            ListOf(Either((Text(what="an LM's name"), Record(SoleLMSpec))), single=True),
            "LMs that answer when this one cannot, in the order in which they are asked.",
            examples=(["claude"],),
            untrusted=True,
        ),
    ] = ()
    fallback_on: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Choice(FALLBACK_REASONS), single=True),
            "The failures after which the next of `fallbacks` is asked.",
            examples=(["server_error", "timeout", "context_window"],),
            untrusted=True,
        ),
    ] = FALLBACK_DEFAULT
    pool: Annotated[
        tuple[str | SoleLMSpec, ...],
        operations(
            ListOf(Either((Text(what="an LM's name"), Record(SoleLMSpec)))),
            "Deployments of one model, of which each attempt asks one; `model` is then left out.",
            examples=(["east", "west"],),
            untrusted=True,
        ),
    ] = ()
    pick: Annotated[
        Literal["least_busy", "round_robin", "weighted"],
        operations(
            Choice(("least_busy", "round_robin", "weighted")),
            "Which of a pool's members is asked.",
            untrusted=True,
        ),
    ] = "least_busy"
    weights: Annotated[
        tuple[float, ...],
        operations(
            ListOf(Number(0)),
            "For `pick: weighted`: the share of each of the pool's members.",
            examples=([3, 1],),
            untrusted=True,
        ),
    ] = ()


LM = Record(LMSpec)
