"""Services that speak the OpenAI API: a line for each."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

RECORDS = (
    # Sent as stated by lmconf's own client.
    Provider(
        "anyscale",
        "https://api.endpoints.anyscale.com/v1",
        "ANYSCALE_API_KEY",
        text="bare",
        profile="anyscale",
    ),
    Provider(
        "groq",
        "https://api.groq.com/openai/v1",
        "GROQ_API_KEY",
        responses="",
        profile="groq",
        litellm="http",
    ),
    Provider(
        "together_ai",
        "https://api.together.xyz/v1",
        "TOGETHERAI_API_KEY",
        text="bare",
        launchable=True,
        profile="together_ai",
        litellm="http",
    ),
    Provider("amazon_nova", "https://api.nova.amazon.com/v1", credentials="unknown", litellm="own"),
    Provider("gradient_ai", "https://inference.do-ai.run/v1", credentials="unknown", litellm="own"),
    Provider("maritalk", "https://chat.maritaca.ai/api", credentials="unknown", litellm="own"),
    # Shaped by LiteLLM, which knows their rules, and sent through a client of lmconf's.
    Provider(
        "cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", chat="openai", text="bare"
    ),
    Provider(
        "deepinfra",
        "https://api.deepinfra.com/v1/openai",
        "DEEPINFRA_API_KEY",
        chat="openai",
        text="bare",
    ),
    Provider(
        "moonshot",
        "https://api.moonshot.ai/v1",
        "MOONSHOT_API_KEY",
        chat="openai",
        telemetry="moonshot_ai",
    ),
    Provider(
        "nvidia_nim", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY", chat="openai"
    ),
    Provider(
        "perplexity",
        "https://api.perplexity.ai",
        "PERPLEXITYAI_API_KEY",
        chat="openai",
        responses="/v1",
        priced_by_litellm=True,
    ),
    Provider(
        "sambanova", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", chat="openai", text="bare"
    ),
    Provider("ai21", "https://api.ai21.com/studio/v1", credentials="unknown", chat="openai"),
    Provider("ai21_chat", "https://api.ai21.com/studio/v1", credentials="unknown", chat="openai"),
    Provider("aiml", "https://api.aimlapi.com/v1", credentials="unknown", chat="openai"),
    Provider("baseten", "https://inference.baseten.co/v1", credentials="unknown", chat="openai"),
    Provider("chutes", "https://llm.chutes.ai/v1", credentials="unknown", chat="openai"),
    Provider(
        "dashscope",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        credentials="unknown",
        chat="openai",
    ),
    Provider("empower", "https://app.empower.dev/api/v1", credentials="unknown", chat="openai"),
    Provider(
        "featherless_ai", "https://api.featherless.ai/v1", credentials="unknown", chat="openai"
    ),
    Provider(
        "friendliai", "https://api.friendli.ai/serverless/v1", credentials="unknown", chat="openai"
    ),
    Provider("galadriel", "https://api.galadriel.com/v1", credentials="unknown", chat="openai"),
    Provider(
        "github", "https://models.inference.ai.azure.com", credentials="unknown", chat="openai"
    ),
    Provider("hyperbolic", "https://api.hyperbolic.xyz/v1", credentials="unknown", chat="openai"),
    Provider("inception", "https://api.inceptionlabs.ai/v1", credentials="unknown", chat="openai"),
    Provider("lambda_ai", "https://api.lambda.ai/v1", credentials="unknown", chat="openai"),
    Provider("meta_llama", "https://api.llama.com/compat/v1", credentials="unknown", chat="openai"),
    Provider(
        "modelscope", "https://api-inference.modelscope.cn/v1", credentials="unknown", chat="openai"
    ),
    Provider("morph", "https://api.morphllm.com/v1", credentials="unknown", chat="openai"),
    Provider("nebius", "https://api.studio.nebius.ai/v1", credentials="unknown", chat="openai"),
    Provider("novita", "https://api.novita.ai/v3/openai", credentials="unknown", chat="openai"),
    Provider("nscale", "https://inference.api.nscale.com/v1", credentials="unknown", chat="openai"),
    Provider("publicai", "https://api.publicai.co/v1", credentials="unknown", chat="openai"),
    Provider(
        "scaleway", "https://api.scaleway.ai/v1", credentials="unknown", chat="openai", responses=""
    ),
    Provider(
        "synthetic", "https://api.synthetic.new/openai/v1", credentials="unknown", chat="openai"
    ),
    Provider("v0", "https://api.v0.dev/v1", credentials="unknown", chat="openai"),
    Provider(
        "volcengine",
        "https://ark.cn-beijing.volces.com/api/v3",
        credentials="unknown",
        chat="openai",
        responses="",
    ),
    Provider("wandb", "https://api.inference.wandb.ai/v1", credentials="unknown", chat="openai"),
    Provider("zai", "https://api.z.ai/api/paas/v4", credentials="unknown", chat="openai"),
)
