"""Databricks: each workspace has an address of its own."""

from __future__ import annotations

from lmconf.providers.provider import OPENAI_NAMES, ApiRules, Provider

__all__ = ["RECORDS"]

RECORDS = (
    Provider(
        "databricks",
        key_env="DATABRICKS_API_KEY",
        base_env="DATABRICKS_API_BASE",
        sdk=True,
        cloud="databricks",
        chat="http",
        responses="",
        # LiteLLM asks its Claude for a form as the call of a tool, and cannot read that from a
        # stream.
        api=ApiRules(in_body=OPENAI_NAMES | {"response_format"}),
        launchable=True,
        trainer="databricks",
        profile="databricks",
        docs="https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference",
    ),
)
