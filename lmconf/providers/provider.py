"""The record of one provider: every fact about it that any part of lmconf needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from lmconf.schema.frozen import FrozenMap

__all__ = ["LABELS", "OPENAI_NAMES", "ApiRules", "Client", "Cloud", "Credentials", "Provider"]

Client: TypeAlias = Literal["bare", "openai", "http", "lent"]
"""The kind of client that carries a route. `bare` is lmconf's own, for servers that speak the
OpenAI API themselves: settings and messages go to them as they were stated, and LiteLLM is not
needed. The others are what LiteLLM takes in place of its own client: an OpenAI SDK client, or an
HTTP handler; where its functions take neither, `lent` ones are lent
(`lmconf.transports.litellm.patches`)."""

Credentials: TypeAlias = Literal["key", "optional", "cloud", "unknown"]
"""`key`: one is needed. `optional`: servers run without. `cloud`: a cloud's SDK finds them.
`unknown`: a profile must state them."""

Cloud: TypeAlias = Literal["aws", "databricks", "google"]
"""Whose SDK finds address and credential (`lmconf.transports.clouds`)."""

LABELS = frozenset(("metadata", "user"))
"""Settings that label a request and change no answer."""

OPENAI_NAMES = frozenset(
    "frequency_penalty logit_bias logprobs metadata modalities parallel_tool_calls"
    " presence_penalty seed service_tier top_logprobs user verbosity".split()
)
"""Settings that an API like OpenAI's takes under OpenAI's names, where LiteLLM would drop them."""


class ApiRules(Struct, frozen=True):
    """What a provider's API takes, beyond what LiteLLM knows of it.

    Attributes:
        in_body: Settings that are put into the body under their own names; LiteLLM is not told.
        inside: Settings that are put into a block of the body, with the block's name.
        unsupported: Settings that the API has no place for, each with what to do instead.
        parts: The types of content parts that it takes; None: any.
        fetched_prefixes: The beginnings of addresses that LiteLLM would fetch by a client of its own.
        message_names: Whether messages may hold a `name`.
        house: The maker whose further rules hold (`lmconf.transports.litellm.params`).
        in_lines: Whether LiteLLM reads its streams as lines of JSON, and not as events.
    """

    in_body: frozenset[str] = LABELS
    inside: Mapping[str, str] = FrozenMap()
    unsupported: Mapping[str, str] = FrozenMap()
    parts: frozenset[str] | None = None
    fetched_prefixes: tuple[str, ...] = ()
    message_names: bool = True
    house: Literal["", "anthropic", "cohere", "google", "mistral"] = ""
    in_lines: bool = False


class Provider(Struct, frozen=True):
    """One provider. The defaults are those of a server that speaks the OpenAI API and wants a key.

    Attributes:
        name: What stands before the first `/` of a model.
        base: The provider's own address.
        key_env: The variable that usually holds a user's key.
        base_env: The variable that usually holds the address, where each account has its own.
        credentials: Whether a key is needed, and who finds it.
        sdk: Whether the provider's SDK finds address and key where neither variable is set.
        chat: The client that carries chat completions; None: LiteLLM sends them by its own client.
        text: The client that carries completions; None: LiteLLM, where it knows the provider.
        responses: What stands between the address and `/responses`; None: no Responses API is
            known.
        litellm: Of a provider whose chat completions lmconf's own client carries by default, the
            client that LiteLLM is given for them; `own`: LiteLLM takes none; None: LiteLLM does not
            know the provider.
        cloud: The cloud whose SDK finds address and credential.
        azure: Whether addresses and the credential's header are those of Azure.
        name_in_path: Whether LiteLLM writes the model's name into the path as it stands.
        above_version: Whether the address ends above the version of the API.
        gateway: Whether it leaves out what the model behind it does not take.
        responses_model: What stands before a model's short name in the Responses API.
        api: What its API takes, where LiteLLM shapes the requests.
        houses: Words in a model's name, and the rules of the API by which such a model is served.
        telemetry: Its `gen_ai.provider.name` in OpenTelemetry, where that is not `name`.
        priced_by_litellm: Whether LiteLLM has a calculation of its own for what an answer costs.
        launchable: Whether a server that lmconf can start speaks its API.
        launcher: The kind of launcher that its models imply.
        trainer: The kind of trainer that its models imply.
        profile: The shipped profile with its models.
        docs: The page that describes its API.
    """

    name: str
    base: str | None = None
    key_env: str | None = None
    base_env: str | None = None
    credentials: Credentials = "key"
    sdk: bool = False
    chat: Client | None = "bare"
    text: Client | None = None
    responses: str | None = None
    litellm: Client | Literal["own"] | None = None
    cloud: Cloud | None = None
    azure: bool = False
    name_in_path: bool = False
    above_version: bool = False
    gateway: bool = False
    responses_model: str = ""
    api: ApiRules = ApiRules()
    houses: Mapping[str, ApiRules] = FrozenMap()
    telemetry: str = ""
    priced_by_litellm: bool = False
    launchable: bool = False
    launcher: str | None = None
    trainer: str | None = None
    profile: str = ""
    docs: str = ""

    @property
    def known_to_litellm(self) -> bool:
        """Whether LiteLLM can send to it."""
        return self.chat != "bare" or self.text not in (None, "bare") or self.litellm is not None
