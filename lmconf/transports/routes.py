"""How each provider of litellm lets its HTTP client be replaced, as a table.

Where it can be, what leaves this machine is decided by `lmconf.transports.wire`: the credential,
the headers, the origin, the deadline. Every line is shown to hold by a test that reads the bytes
at a socket; providers that are not listed read their own settings and send by their own means.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["CHAT", "TEXT", "Client", "client_of"]

Client = Literal["openai", "azure", "http"]
"""The kind of client that litellm takes: an OpenAI SDK client, its Azure kind, or an HTTP handler
of litellm's own."""

CHAT: dict[str, Client] = {
    **dict.fromkeys(
        "ai21 ai21_chat aiml baseten cerebras chutes codestral custom_openai dashscope deepinfra"
        " docker_model_runner empower featherless_ai friendliai galadriel github hyperbolic"
        " inception lambda_ai litellm_proxy llamafile lm_studio meta_llama modelscope moonshot"
        " morph nebius novita nscale nvidia_nim openai perplexity publicai sambanova scaleway"
        " synthetic v0 vercel_ai_gateway volcengine wandb xinference zai".split(),
        "openai",
    ),
    **dict.fromkeys(
        "anthropic azure_ai cometapi compactifai databricks datarobot deepseek fireworks_ai"
        " gemini groq heroku hosted_vllm huggingface minimax mistral ollama ollama_chat openrouter"
        " ovhcloud snowflake together_ai xai".split(),
        "http",
    ),
    "azure": "azure",
}

# The completions API of every one of these is OpenAI's, so all are sent the same way.
TEXT: dict[str, Client] = {
    **dict.fromkeys(
        "cerebras custom_openai deepinfra fireworks_ai hosted_vllm litellm_proxy llamafile"
        " lm_studio openai openrouter sambanova text-completion-openai together_ai"
        " xinference".split(),
        "openai",
    ),
    "azure": "azure",
    "azure_text": "azure",
    "ollama": "http",
}


def client_of(provider: str, route: str) -> Client | None:
    """Return the kind of client that carries `route` to `provider`; None: none can be given."""
    return (TEXT if route == "text" else CHAT).get(provider)
