"""Servers of one's own: those that run without a key, and those that a profile gives an address."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

RECORDS = (
    Provider(
        "hosted_vllm",
        base_env="HOSTED_VLLM_API_BASE",
        credentials="optional",
        text="bare",
        responses="",
        launchable=True,
        launcher="vllm",
        profile="hosted_vllm",
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        litellm="http",
    ),
    Provider(
        "llamafile",
        "http://127.0.0.1:8080/v1",
        credentials="optional",
        text="bare",
        launchable=True,
        litellm="openai",
    ),
    Provider(
        "lm_studio",
        "http://127.0.0.1:1234/v1",
        credentials="optional",
        text="bare",
        responses="",
        launchable=True,
        docs="https://lmstudio.ai/docs/app/api",
        litellm="openai",
    ),
    Provider(
        "custom_openai",
        credentials="unknown",
        text="bare",
        responses="",
        launchable=True,
        litellm="openai",
    ),
    Provider("openai_like", credentials="unknown", launchable=True, litellm="own"),
    Provider("xinference", credentials="unknown", text="bare", launchable=True, litellm="openai"),
    Provider("lemonade", credentials="unknown", litellm="own"),
    Provider(
        "docker_model_runner",
        "http://localhost:22088/engines/llama.cpp",
        credentials="unknown",
        chat="openai",
    ),
)
