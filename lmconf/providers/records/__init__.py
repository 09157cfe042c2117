"""The providers that lmconf knows: a file for each with much to say, and one for each kind of others.

Names and usual variables are those of LiteLLM's provider documentation
(docs.litellm.ai/docs/providers, read 2026-11); addresses are the providers' own, or LiteLLM's
default where only the address is known. That a route is carried as its record says is shown by
tests that read the bytes at a socket (`tests/wire`).
"""

from __future__ import annotations

from lmconf.providers.provider import Provider
from lmconf.providers.records import (
    anthropic,
    aws,
    azure,
    cohere,
    databricks,
    gateways,
    google,
    litellm_clients,
    mistral,
    ollama,
    openai,
    openai_compatible,
    others,
    self_hosted,
)

__all__ = ["RECORDS"]

RECORDS: tuple[Provider, ...] = (
    *openai.RECORDS,
    *azure.RECORDS,
    *anthropic.RECORDS,
    *aws.RECORDS,
    *google.RECORDS,
    *databricks.RECORDS,
    *mistral.RECORDS,
    *cohere.RECORDS,
    *ollama.RECORDS,
    *self_hosted.RECORDS,
    *gateways.RECORDS,
    *openai_compatible.RECORDS,
    *litellm_clients.RECORDS,
    *others.RECORDS,
)
"""Every record, in the order of the page about providers."""
