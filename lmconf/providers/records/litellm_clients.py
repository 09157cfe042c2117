"""Services whose requests LiteLLM shapes for an HTTP client of lmconf's."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

RECORDS = (
    Provider("deepseek", "https://api.deepseek.com/beta", "DEEPSEEK_API_KEY", chat="http"),
    Provider(
        "fireworks_ai",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_AI_API_KEY",
        chat="http",
        text="bare",
        responses="",
        responses_model="accounts/fireworks/models/",
        priced_by_litellm=True,
    ),
    Provider(
        "huggingface",
        "https://router.huggingface.co",
        "HF_TOKEN",
        chat="http",
        responses="/v1",
        name_in_path=True,
    ),
    Provider(
        "xai",
        "https://api.x.ai/v1",
        "XAI_API_KEY",
        chat="http",
        responses="",
        priced_by_litellm=True,
        telemetry="x_ai",
    ),
    Provider("cometapi", "https://api.cometapi.com/v1", credentials="unknown", chat="http"),
    Provider("compactifai", "https://api.compactif.ai/v1", credentials="unknown", chat="http"),
    Provider("minimax", "https://api.minimax.io/v1", credentials="unknown", chat="http"),
    Provider(
        "ovhcloud",
        "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        credentials="unknown",
        chat="http",
    ),
    Provider("cloudflare", credentials="unknown", chat="lent", name_in_path=True),
    Provider("datarobot", credentials="unknown", chat="http"),
    Provider("heroku", credentials="unknown", chat="http"),
    Provider("snowflake", credentials="unknown", chat="http"),
)
