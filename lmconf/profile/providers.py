"""What is known of each provider: its own address, and the variables its users usually set.

The table is ours so that checking and cache hits never import litellm. Names and usual variables
are those of LiteLLM's provider documentation (docs.litellm.ai/docs/providers); addresses are the
providers' own.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

__all__ = ["PROVIDERS", "Provider", "is_address", "is_loopback", "origin", "provider_of"]

Credentials = Literal["key", "optional", "cloud", "unknown"]


class Provider(Struct, frozen=True):
    """One provider.

    `base` is its own address. `key_env` and `base_env` name the variables that hold a user's key
    and, for providers where every account has an address of its own, that address.
    `credentials` is `key` where one is needed, `optional` where servers run without, `cloud`
    where a cloud SDK finds them, and `unknown` where a profile must state them.
    """

    name: str
    base: str | None = None
    key_env: str | None = None
    base_env: str | None = None
    credentials: Credentials = "key"


def _keyed(name: str, base: str, key_env: str) -> Provider:
    return Provider(name, base=base, key_env=key_env)


def _own_address(name: str, base_env: str, key_env: str) -> Provider:
    return Provider(name, base_env=base_env, key_env=key_env)


_KNOWN = (
    _keyed("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    _keyed("text-completion-openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    _keyed("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    _keyed("anyscale", "https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY"),
    _keyed("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    _keyed("cohere", "https://api.cohere.com", "COHERE_API_KEY"),
    _keyed("cohere_chat", "https://api.cohere.com", "COHERE_API_KEY"),
    _keyed("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    _keyed("deepseek", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY"),
    _keyed("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    _keyed("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
    _keyed("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _keyed("huggingface", "https://router.huggingface.co", "HF_TOKEN"),
    _keyed("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    _keyed("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    _keyed("nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    _keyed("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    _keyed("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    _keyed("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    _keyed("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    _keyed("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    _own_address("azure", "AZURE_API_BASE", "AZURE_API_KEY"),
    _own_address("azure_text", "AZURE_API_BASE", "AZURE_API_KEY"),
    _own_address("azure_ai", "AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
    _own_address("databricks", "DATABRICKS_API_BASE", "DATABRICKS_API_KEY"),
    _own_address("litellm_proxy", "LITELLM_PROXY_API_BASE", "LITELLM_PROXY_API_KEY"),
    Provider("hosted_vllm", base_env="HOSTED_VLLM_API_BASE", credentials="optional"),
    Provider("llamafile", base="http://127.0.0.1:8080/v1", credentials="optional"),
    Provider("lm_studio", base="http://127.0.0.1:1234/v1", credentials="optional"),
    Provider("ollama", base="http://localhost:11434", credentials="optional"),
    Provider("ollama_chat", base="http://localhost:11434", credentials="optional"),
    Provider("bedrock", credentials="cloud"),
    Provider("sagemaker", credentials="cloud"),
    Provider("sagemaker_chat", credentials="cloud"),
    Provider("vertex_ai", credentials="cloud"),
    Provider("vertex_ai_beta", credentials="cloud"),
)

# Providers that LiteLLM routes to and of which nothing more is known here.
_OTHERS = """
    ai21 ai21_chat aiml amazon_nova baseten bytez chutes clarifai cloudflare codestral cometapi
    compactifai custom_openai dashscope datarobot docker_model_runner empower featherless_ai
    friendliai galadriel gigachat github github_copilot gradient_ai heroku hyperbolic inception
    infinity lambda_ai lemonade maritalk meta_llama minimax modelscope morph nebius nlp_cloud
    novita nscale oci oobabooga openai_like ovhcloud petals predibase publicai replicate
    sagemaker_nova sap scaleway snowflake stability synthetic text-completion-codestral topaz
    triton v0 vercel_ai_gateway volcengine wandb watsonx watsonx_text xinference zai
""".split()

PROVIDERS: dict[str, Provider] = {
    **{provider.name: provider for provider in _KNOWN},
    **{name: Provider(name, credentials="unknown") for name in _OTHERS},
}
"""Every provider that a model's name may begin with."""


def provider_of(model: str) -> tuple[str, str]:
    """Return the provider and the provider's own name of `model`: the text around its first `/`.

    A model without a `/` has the provider `""`.
    """
    provider, slash, name = model.partition("/")
    return (provider, name) if slash else ("", model)


def origin(address: str) -> str:
    """Return scheme, host and port of `address` in lower case, without credentials or path.

    It is empty where `address` is none.
    """
    if not is_address(address):
        return ""
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    # Without its brackets an IPv6 address would swallow a port.
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port is not None else ""
    return f"{parts.scheme.lower()}://{host}{port}"


def is_address(address: str) -> bool:
    """Say whether `address` names a host, and a port that there can be."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Say whether `address` names this machine: localhost, 127.0.0.0/8 or ::1.

    A name that only begins like such a number, as `127.0.0.1.example`, leads anywhere.
    """
    if not is_address(address):
        return False
    host = (urlsplit(address).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
