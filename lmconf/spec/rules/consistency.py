"""Rules between the fields of one LM, and the defaults that follow from its model.

Each rule reads plain data and yields faults; `complete_lm` fills in what the model decides: its
family's defaults and the provider's usual credential. What a person stated is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lmconf.launchers.rules import kind_of_model
from lmconf.providers.catalogue import PROVIDERS, provider_of, record_of
from lmconf.schema.check import Fault
from lmconf.secrets.references import Env
from lmconf.spec.lm import LMSpec
from lmconf.spec.rules.access import check_access, usual_credential
from lmconf.spec.rules.budgets import check_budget
from lmconf.spec.rules.fields import is_launcher, launches
from lmconf.spec.rules.model_family import check_family, complete_settings
from lmconf.spec.rules.model_type import check_extra, check_model_type, check_transport
from lmconf.spec.rules.pools import check_pool, is_pool
from lmconf.spec.rules.requests import check_request
from lmconf.spec.rules.servers import check_server
from lmconf.spec.rules.timeouts import check_times, complete_times
from lmconf.spec.rules.training import check_training, complete_training

Data = Mapping[str, Any]


def check_lm(data: Data) -> list[Fault]:
    """Return what is wrong between the fields of one LM whose fields are each right by themselves.

    Fields that hold `UnreadableValue` are passed over: something was already reported there.
    """
    faults: list[Fault] = []
    if is_pool(data):
        faults += check_pool(data)
    for rule in _POOL_RULES if is_pool(data) else _RULES:
        faults.extend(rule(data))
    return faults


def complete_lm(data: Data, soft: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the data of an LM with the defaults that its model decides.

    Args:
        data: plain data whose model is known; what is stated stays.
        soft: the fields that came from the profile's `defaults`, which give way to what the model's
            family takes.
    """
    full = dict(data)
    complete_settings(full, soft)
    complete_times(full)
    if isinstance(data.get("train_kwargs"), Mapping):
        full["train_kwargs"] = complete_training(data)
    if is_pool(data):
        return full
    if launches(data):
        server = data.get("launch_kwargs", {})
        if not isinstance(server, Mapping):
            return full
        server = dict(server)
        kind = data.get("provider")
        if not is_launcher(kind):
            kind = kind_of_model(*provider_of(str(data["model"])), server)
        if kind is not None:
            server.setdefault("use", kind)
        full["launch_kwargs"] = server
        full.setdefault("api_key", "")
        return full
    provider = PROVIDERS.get(provider_of(str(data["model"]))[0])
    if provider is None:
        return full
    if provider.base_env and "api_base" not in full:
        full["api_base"] = Env(name=provider.base_env)
    if "api_key" not in full and usual_credential(data, provider) is not None:
        full["api_key"] = usual_credential(data, provider)
    return full


def kind_of(spec: LMSpec) -> str | None:
    """Return the kind of launcher or trainer that an LM is for, None for neither."""
    if spec.provider is not None:
        return spec.provider
    if spec.launch_kwargs is not None:
        return spec.launch_kwargs.use
    return record_of(provider_of(spec.finetuning_model or spec.model)[0]).trainer


def _check_logprobs(data: Data) -> Iterator[Fault]:
    if data.get("top_logprobs") is not None and not data.get("logprobs"):
        yield Fault(
            "contradiction",
            ("top_logprobs",),
            "`top_logprobs` has no effect without `logprobs`",
            help="add `logprobs: true`",
            at_key=True,
        )


_RULES: tuple[Callable[[Data], Iterator[Fault]], ...] = (
    check_access,
    check_family,
    check_server,
    check_training,
    _check_logprobs,
    check_times,
    check_budget,
    check_model_type,
    check_transport,
    check_extra,
    check_request,
)

# A pool has neither a connection nor a credential: its members are judged for theirs.
_POOL_RULES = (
    check_family,
    _check_logprobs,
    check_times,
    check_budget,
    check_request,
)
