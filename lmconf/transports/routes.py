"""How each provider's APIs are reached, as tables.

The first two say how litellm lets a provider's HTTP client be replaced.

Where it can be, what leaves this machine is decided by `lmconf.transports.wire`: the credential,
the headers, the origin, the deadline. Every line is shown to hold by a test that reads the bytes
at a socket; providers that are not listed read their own settings and send by their own means,
and a profile that names one is told so when it is loaded.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "AS_STATED",
    "CHAT",
    "CLOUDS",
    "NOT_IN_RESPONSES",
    "RESPONSES",
    "TEXT",
    "Client",
    "OfOtherApis",
    "client_of",
]

Client = Literal["openai", "azure", "http", "lent", "bare"]
"""The kind of client that litellm takes: an OpenAI SDK client, its Azure kind, or an HTTP handler
of litellm's own. Where its functions take none, `lent` ones are lent (`lmconf.transports.lending`).
`bare` is what is below all of them, for routes that need no litellm."""

CHAT: dict[str, Client] = {
    **dict.fromkeys(
        "ai21 ai21_chat aiml amazon_nova anyscale baseten cerebras chutes codestral custom_openai dashscope deepinfra"
        " docker_model_runner empower featherless_ai friendliai galadriel github gradient_ai groq hosted_vllm"
        " hyperbolic inception lambda_ai lemonade litellm_proxy llamafile lm_studio maritalk meta_llama modelscope moonshot"
        " morph nebius novita nscale nvidia_nim openai openai_like openrouter perplexity publicai"
        " sambanova scaleway synthetic together_ai v0 vercel_ai_gateway volcengine wandb xinference zai".split(),
        "openai",
    ),
    **dict.fromkeys(
        "anthropic azure_ai bedrock cometapi compactifai databricks datarobot deepseek fireworks_ai"
        " gemini heroku huggingface minimax mistral ollama ollama_chat ovhcloud sagemaker_chat"
        " sagemaker_nova snowflake vertex_ai vertex_ai_beta xai".split(),
        "http",
    ),
    **dict.fromkeys("cloudflare cohere cohere_chat sagemaker".split(), "lent"),
    "azure": "azure",
}

CLOUDS = frozenset(
    "bedrock sagemaker sagemaker_chat sagemaker_nova vertex_ai vertex_ai_beta".split()
)
"""Providers whose address and credential are found as the cloud's own SDK finds them
(`lmconf.transports.clouds`)."""

AS_STATED = frozenset(
    "amazon_nova anyscale azure custom_openai gradient_ai groq hosted_vllm lemonade litellm_proxy"
    " llamafile lm_studio maritalk openai openai_like openrouter together_ai xinference".split()
)
"""Providers whose servers speak the OpenAI API itself: settings and messages go to them as they
were stated, and litellm's table of what each model takes has no say. `anyscale` is one of them
because litellm knows it no longer."""

# The completions API of every one of these is OpenAI's, so all are sent the same way.
TEXT: dict[str, Client] = {
    **dict.fromkeys(
        "anyscale cerebras custom_openai deepinfra fireworks_ai hosted_vllm litellm_proxy llamafile"
        " lm_studio openai openrouter sambanova text-completion-openai together_ai"
        " xinference".split(),
        "openai",
    ),
    "azure": "azure",
    "azure_text": "azure",
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


class OfOtherApis(Struct, frozen=True):
    """A parameter that the Responses API has no place for.

    `harmless` is the one value that asks for nothing that the API does not do anyway.
    """

    help: str
    harmless: object = None


_UNKNOWN = "a server that knows it all the same takes it under `extra`"

NOT_IN_RESPONSES: dict[str, OfOtherApis] = {
    **dict.fromkeys(
        ("frequency_penalty", "logit_bias", "modalities", "presence_penalty", "seed", "stop"),
        OfOtherApis(_UNKNOWN),
    ),
    "n": OfOtherApis("one answer comes of one call: ask as often as you need answers", 1),
    "thinking": OfOtherApis("say `reasoning_effort`"),
}
"""Parameters of chat completions that are missing here (OpenAI, "Migrate to the Responses API")."""


def client_of(provider: str, route: str) -> Client | None:
    """Return the kind of client that carries `route` to `provider`; None: none can be given."""
    return (TEXT if route == "text" else CHAT).get(provider)
