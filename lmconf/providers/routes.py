"""How the routes of a provider are carried, and the parameters that only some of them take."""

from __future__ import annotations

from msgspec import Struct

from lmconf.providers.catalogue import record_of
from lmconf.providers.provider import Client

__all__ = [
    "MODEL_PARAMETERS",
    "NOT_IN_RESPONSES",
    "UnsupportedParameter",
    "client_of",
    "find_obstacle",
    "has_completions",
    "is_foreign",
    "is_own",
]


class UnsupportedParameter(Struct, frozen=True):
    """A parameter that the Responses API has no place for.

    `harmless` is the one value that asks for nothing that the API does not do anyway.
    """

    help: str
    harmless: object = None


_UNKNOWN = "if the server supports it, put it under `extra`"

NOT_IN_RESPONSES: dict[str, UnsupportedParameter] = {
    **dict.fromkeys(
        ("frequency_penalty", "logit_bias", "modalities", "presence_penalty", "seed", "stop"),
        UnsupportedParameter(_UNKNOWN),
    ),
    "n": UnsupportedParameter("one call returns one answer: send one call for each answer", 1),
    "thinking": UnsupportedParameter("say `reasoning_effort`"),
}
"""Parameters of chat completions that are missing here (OpenAI, "Migrate to the Responses API")."""


def client_of(provider: str, route: str, use: str = "auto") -> Client | None:
    """Return the kind of client by which the transport `use` carries `route` to `provider`.

    None: no client of lmconf's can be given to what sends.
    """
    record = record_of(provider)
    client = record.text if route == "text" else record.chat
    if use == "litellm" and client == "bare":
        return None if record.litellm == "own" else record.litellm
    return client


def is_own(provider: str, route: str, use: str = "auto") -> bool:
    """Say whether the transport `use` sends `route` to `provider` by lmconf's own OpenAI client."""
    if route == "responses" or use == "openai":
        return True
    return client_of(provider, route, use) == "bare"


def find_obstacle(provider: str, route: str, use: str) -> str:
    """Return why the transport `use` cannot carry `route` to `provider`, "" where it can."""
    record = record_of(provider)
    client = client_of(provider, route)
    if use == "litellm":
        if route == "responses":
            return "lmconf's own client sends requests to the Responses API, not LiteLLM"
        if client == "bare" and route == "text":
            return "lmconf's own client sends completions to this provider, not LiteLLM"
        if client == "bare" and record.litellm is None:
            return f"LiteLLM does not know `{provider}`"
        if client == "bare" and record.litellm == "own":
            return f"LiteLLM cannot be given lmconf's HTTP client for `{provider}`"
    if use == "openai" and route != "responses" and client not in ("bare", "openai"):
        return f"lmconf does not use the OpenAI API of `{provider}`"
    return ""


def has_completions(provider: str) -> bool:
    """Say whether anything can ask `provider` for completions."""
    record = record_of(provider)
    return record.text is not None or record.known_to_litellm


def is_foreign(provider: str, route: str) -> bool:
    """Say whether LiteLLM sends `route` to `provider` by its own means."""
    return route != "responses" and client_of(provider, route) is None


MODEL_PARAMETERS = frozenset(
    "decoding_method do_sample early_stopping epsilon_cutoff eta_cutoff guidance_scale ignore_eos"
    " length_penalty max_length max_new_tokens min_length min_new_tokens min_p min_tokens mirostat"
    " mirostat_eta mirostat_tau no_repeat_ngram_size num_beams num_ctx penalty_alpha random_seed"
    " repeat_last_n repeat_penalty repetition_penalty skip_special_tokens tfs_z top_a top_k"
    " truncate_input_tokens typical_p use_beam_search".split()
)
"""Keys of a body that say how a model answers, and nothing else: no address, account or tool.

Where LiteLLM sends by its own means, `extra` reaches the body through its keyword arguments, and it
acts on hundreds of those (`model_list`, `fallbacks`, `api_base`, `mock_response`, …), more with each
release. There, these alone are let through.
"""
