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

__all__ = ["NOWHERE", "PROVIDERS", "Provider", "is_address", "is_loopback", "origin", "provider_of"]

NOWHERE = "https://fake.invalid"
"""The address of fakes: no server has this name (RFC 6761, 6.4), and nothing is sent there."""

Credentials = Literal["key", "optional", "cloud", "unknown"]


class Provider(Struct, frozen=True):
    """One provider.

    `base` is its own address. `key_env` and `base_env` name the variables that hold a user's key
    and, for providers where every account has an address of its own, that address.
    `credentials` is `key` where one is needed, `optional` where servers run without, `cloud`
    where a cloud SDK finds them, and `unknown` where a profile must state them. `sdk` says that
    the provider's SDK finds address and credential where neither of the variables is set.
    """

    name: str
    base: str | None = None
    key_env: str | None = None
    base_env: str | None = None
    credentials: Credentials = "key"
    sdk: bool = False


def _api_provider(name: str, base: str, key_env: str) -> Provider:
    return Provider(name, base=base, key_env=key_env)


def _addressed_provider(name: str, base_env: str, key_env: str) -> Provider:
    return Provider(name, base_env=base_env, key_env=key_env)


_KNOWN = (
    _api_provider("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    _api_provider("text-completion-openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    _api_provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    _api_provider("anyscale", "https://api.endpoints.anyscale.com/v1", "ANYSCALE_API_KEY"),
    _api_provider("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    _api_provider("cohere", "https://api.cohere.com", "COHERE_API_KEY"),
    _api_provider("cohere_chat", "https://api.cohere.com", "COHERE_API_KEY"),
    _api_provider("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    _api_provider("deepseek", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY"),
    _api_provider("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    _api_provider("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
    _api_provider("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _api_provider("huggingface", "https://router.huggingface.co", "HF_TOKEN"),
    _api_provider("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    _api_provider("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    _api_provider("nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    _api_provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    _api_provider("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    _api_provider("sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    _api_provider("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    _api_provider("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    _addressed_provider("azure", "AZURE_API_BASE", "AZURE_API_KEY"),
    _addressed_provider("azure_text", "AZURE_API_BASE", "AZURE_API_KEY"),
    _addressed_provider("azure_ai", "AZURE_AI_API_BASE", "AZURE_AI_API_KEY"),
    Provider("databricks", base_env="DATABRICKS_API_BASE", key_env="DATABRICKS_API_KEY", sdk=True),
    _addressed_provider("litellm_proxy", "LITELLM_PROXY_API_BASE", "LITELLM_PROXY_API_KEY"),
    Provider("hosted_vllm", base_env="HOSTED_VLLM_API_BASE", credentials="optional"),
    Provider("llamafile", base="http://127.0.0.1:8080/v1", credentials="optional"),
    Provider("lm_studio", base="http://127.0.0.1:1234/v1", credentials="optional"),
    Provider("ollama", base="http://localhost:11434", credentials="optional"),
    Provider("ollama_chat", base="http://localhost:11434", credentials="optional"),
    Provider("bedrock", credentials="cloud"),
    Provider("sagemaker", credentials="cloud"),
    Provider("sagemaker_chat", credentials="cloud"),
    Provider("sagemaker_nova", credentials="cloud"),
    Provider("vertex_ai", credentials="cloud"),
    Provider("vertex_ai_beta", credentials="cloud"),
)

# Providers of which only the address is known here: LiteLLM's own default for each.
_ADDRESSES = {
    "ai21": "https://api.ai21.com/studio/v1",
    "ai21_chat": "https://api.ai21.com/studio/v1",
    "amazon_nova": "https://api.nova.amazon.com/v1",
    "aiml": "https://api.aimlapi.com/v1",
    "baseten": "https://inference.baseten.co/v1",
    "chutes": "https://llm.chutes.ai/v1",
    "codestral": "https://codestral.mistral.ai/v1",
    "cometapi": "https://api.cometapi.com/v1",
    "compactifai": "https://api.compactif.ai/v1",
    "dashscope": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "docker_model_runner": "http://localhost:22088/engines/llama.cpp",
    "empower": "https://app.empower.dev/api/v1",
    "featherless_ai": "https://api.featherless.ai/v1",
    "friendliai": "https://api.friendli.ai/serverless/v1",
    "galadriel": "https://api.galadriel.com/v1",
    "github": "https://models.inference.ai.azure.com",
    "gradient_ai": "https://inference.do-ai.run/v1",
    "hyperbolic": "https://api.hyperbolic.xyz/v1",
    "inception": "https://api.inceptionlabs.ai/v1",
    "lambda_ai": "https://api.lambda.ai/v1",
    "maritalk": "https://chat.maritaca.ai/api",
    "meta_llama": "https://api.llama.com/compat/v1",
    "minimax": "https://api.minimax.io/v1",
    "modelscope": "https://api-inference.modelscope.cn/v1",
    "morph": "https://api.morphllm.com/v1",
    "nebius": "https://api.studio.nebius.ai/v1",
    "novita": "https://api.novita.ai/v3/openai",
    "nscale": "https://inference.api.nscale.com/v1",
    "ovhcloud": "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
    "publicai": "https://api.publicai.co/v1",
    "scaleway": "https://api.scaleway.ai/v1",
    "synthetic": "https://api.synthetic.new/openai/v1",
    "v0": "https://api.v0.dev/v1",
    "vercel_ai_gateway": "https://ai-gateway.vercel.sh/v1",
    "volcengine": "https://ark.cn-beijing.volces.com/api/v3",
    "wandb": "https://api.inference.wandb.ai/v1",
    "zai": "https://api.z.ai/api/paas/v4",
}

# Providers that LiteLLM routes to and of which nothing more is known here.
_OTHERS = """
    bytez clarifai cloudflare custom_openai datarobot gigachat github_copilot
    heroku infinity lemonade nlp_cloud oci oobabooga openai_like petals
    predibase replicate sap snowflake stability text-completion-codestral topaz
    triton watsonx watsonx_text xinference
""".split()

PROVIDERS: dict[str, Provider] = {
    **{provider.name: provider for provider in _KNOWN},
    **{name: Provider(name, base=base, credentials="unknown") for name, base in _ADDRESSES.items()},
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
