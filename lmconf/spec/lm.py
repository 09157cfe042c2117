"""`LMSpec`: everything that a profile can say of one LM, each field declared once.

Those of the model are in `generation_fields`, those of its server in `connection_fields`; the
policies, servers and training follow here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from lmconf.caches.specs import CACHE, CachePolicy
from lmconf.callbacks.specs import CALLBACK, CallbackSpec
from lmconf.launchers.specs import LAUNCH, LaunchSpec
from lmconf.limits.specs import Limits
from lmconf.retries.specs import FALLBACK_DEFAULT, FALLBACK_REASONS, RetryPolicy
from lmconf.schema import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Json,
    ListOf,
    Number,
    Record,
    Size,
    Text,
)
from lmconf.schema.declaration import operations
from lmconf.schema.frozen import FrozenMap
from lmconf.spec.connection_fields import ConnectionFields
from lmconf.spec.policies import HISTORY, TIMEOUT, Budget, HistoryPolicy, Pricing, TimeoutSpec
from lmconf.trainers.specs import TRAIN, TrainSpec
from lmconf.transports.specs import TRANSPORT, TransportSpec

JsonMap = FrozenMap[str, Any]


class SoleLMSpec(ConnectionFields, frozen=True, kw_only=True):
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
            names="callbacks",
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
            kind_from="provider",
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
            kind_from="provider",
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
            names="lms",
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
            names="lms",
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
