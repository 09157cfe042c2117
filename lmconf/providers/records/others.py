"""Providers that LiteLLM sends to by its own client, and of which nothing more is known here."""

from __future__ import annotations

from lmconf.providers.provider import Provider

__all__ = ["RECORDS"]

RECORDS = (
    Provider("bytez", credentials="unknown", chat=None),
    Provider("clarifai", credentials="unknown", chat=None),
    Provider("gigachat", credentials="unknown", chat=None),
    Provider("github_copilot", credentials="unknown", chat=None),
    Provider("infinity", credentials="unknown", chat=None),
    Provider("nlp_cloud", credentials="unknown", chat=None),
    Provider("oci", credentials="unknown", chat=None),
    Provider("oobabooga", credentials="unknown", chat=None),
    Provider("petals", credentials="unknown", chat=None),
    Provider("predibase", credentials="unknown", chat=None),
    Provider("replicate", credentials="unknown", chat=None),
    Provider("sap", credentials="unknown", chat=None),
    Provider("stability", credentials="unknown", chat=None),
    Provider("topaz", credentials="unknown", chat=None),
    Provider("triton", credentials="unknown", chat=None),
    Provider("watsonx", credentials="unknown", chat=None, telemetry="ibm.watsonx.ai"),
    Provider("watsonx_text", credentials="unknown", chat=None),
)
