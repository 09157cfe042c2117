"""Gateways: they leave out what the model behind them does not take."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

RECORDS = (
    Provider(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        text="bare",
        responses="",
        gateway=True,
        profile="openrouter",
        docs="https://openrouter.ai/docs/api-reference/overview",
        litellm="http",
    ),
    Provider(
        "litellm_proxy",
        key_env="LITELLM_PROXY_API_KEY",
        base_env="LITELLM_PROXY_API_BASE",
        text="bare",
        responses="",
        gateway=True,
        launchable=True,
        profile="litellm_proxy",
        docs="https://docs.litellm.ai/docs/simple_proxy",
        litellm="openai",
    ),
    Provider(
        "vercel_ai_gateway",
        "https://ai-gateway.vercel.sh/v1",
        credentials="unknown",
        chat="openai",
        responses="",
        gateway=True,
        docs="https://vercel.com/docs/ai-gateway",
    ),
)
