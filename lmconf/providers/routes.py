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
    "is_foreign",
]


class UnsupportedParameter(Struct, frozen=True):
    """A parameter that the Responses API has no place for.

    `harmless` is the one value that asks for nothing that the API does not do anyway.
    """

    help: str
    harmless: object = None


_UNKNOWN = "a server that knows it all the same takes it under `extra`"

NOT_IN_RESPONSES: dict[str, UnsupportedParameter] = {
    **dict.fromkeys(
        ("frequency_penalty", "logit_bias", "modalities", "presence_penalty", "seed", "stop"),
        UnsupportedParameter(_UNKNOWN),
    ),
    "n": UnsupportedParameter("one answer comes of one call: ask as often as you need answers", 1),
    "thinking": UnsupportedParameter("say `reasoning_effort`"),
}
"""Parameters of chat completions that are missing here (OpenAI, "Migrate to the Responses API")."""


def client_of(provider: str, route: str) -> Client | None:
    """Return the kind of client that carries `route` to `provider`; None: none can be given."""
    record = record_of(provider)
    return record.text if route == "text" else record.chat


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
