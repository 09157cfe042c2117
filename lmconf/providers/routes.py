"""How each provider's APIs are reached, as tables.

The first two say how a provider's client is replaced by ours. Where it can be, what leaves this machine is decided by `lmconf.transports.http.client`: the credential,
the headers, the origin, the deadline. Every line is shown to hold by a test that reads the bytes
at a socket; providers that are not listed read their own settings and send by their own means,
and a profile that names one is told so when it is loaded.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "CHAT",
    "CLOUDS",
    "MODEL_PARAMETERS",
    "NAMES_IN_PATHS",
    "NOT_IN_RESPONSES",
    "RESPONSES",
    "TEXT",
    "Client",
    "UnsupportedParameter",
    "client_of",
    "is_foreign",
]

Client = Literal["bare", "openai", "http", "lent"]
"""The kind of client that carries a route. `bare` is our own, for servers that speak the OpenAI
API itself: settings and messages go to them as they were stated, and litellm is not needed. The
others are what litellm takes: an OpenAI SDK client, or an HTTP handler of its own; where its
functions take none, `lent` ones are lent (`lmconf.transports.litellm.patches`)."""

CHAT: dict[str, Client] = {
    # `anyscale` is one of them because litellm knows it no longer.
    **dict.fromkeys(
        "amazon_nova anyscale azure custom_openai gradient_ai groq hosted_vllm lemonade litellm_proxy"
        " llamafile lm_studio maritalk openai openai_like openrouter together_ai xinference".split(),
        "bare",
    ),
    **dict.fromkeys(
        "ai21 ai21_chat aiml baseten cerebras chutes codestral dashscope deepinfra"
        " docker_model_runner empower featherless_ai friendliai galadriel github"
        " hyperbolic inception lambda_ai meta_llama modelscope moonshot"
        " morph nebius novita nscale nvidia_nim perplexity publicai"
        " sambanova scaleway synthetic v0 vercel_ai_gateway volcengine wandb zai".split(),
        "openai",
    ),
    **dict.fromkeys(
        "anthropic azure_ai bedrock cometapi compactifai databricks datarobot deepseek fireworks_ai"
        " gemini heroku huggingface minimax mistral ollama ollama_chat ovhcloud sagemaker_chat"
        " sagemaker_nova snowflake vertex_ai vertex_ai_beta xai".split(),
        "http",
    ),
    **dict.fromkeys("cloudflare cohere cohere_chat sagemaker".split(), "lent"),
}

CLOUDS = frozenset(
    "bedrock sagemaker sagemaker_chat sagemaker_nova vertex_ai vertex_ai_beta".split()
)
"""Providers whose address and credential are found as the cloud's own SDK finds them
(`lmconf.transports.clouds`)."""

# The completions API of every one of these is OpenAI's, so all are sent the same way.
TEXT: dict[str, Client] = {
    **dict.fromkeys(
        "anyscale azure azure_text cerebras custom_openai deepinfra fireworks_ai hosted_vllm"
        " litellm_proxy llamafile lm_studio openai openrouter sambanova text-completion-openai"
        " together_ai xinference".split(),
        "bare",
    ),
    "ollama": "http",
    **dict.fromkeys("bedrock sagemaker_chat".split(), "http"),
    "sagemaker": "lent",
}

RESPONSES: dict[str, str] = {
    **dict.fromkeys(
        "custom_openai databricks fireworks_ai groq hosted_vllm litellm_proxy lm_studio openai"
        " openrouter scaleway vercel_ai_gateway volcengine xai".split(),
        "",
    ),
    # Their own addresses end above the version.
    **dict.fromkeys(("huggingface", "ollama", "perplexity"), "/v1"),
    **dict.fromkeys(("azure", "azure_ai"), "/openai/v1"),
}
"""Every provider that documents a Responses API, and what stands between its address and
`/responses`."""


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


def client_of(provider: str, route: str) -> Client | None:
    """Return the kind of client that carries `route` to `provider`; None: none can be given."""
    return (TEXT if route == "text" else CHAT).get(provider)


def is_foreign(provider: str, route: str) -> bool:
    """Say whether LiteLLM sends `route` to `provider` by its own means."""
    return route != "responses" and client_of(provider, route) is None


NAMES_IN_PATHS = frozenset("bedrock cloudflare gemini huggingface vertex_ai vertex_ai_beta".split())
"""Providers for which LiteLLM writes the model's name into the request's path as it stands.

Azure's and SageMaker's are written by lmconf, which quotes them."""

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
