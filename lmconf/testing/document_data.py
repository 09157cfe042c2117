"""Plain data as a document spells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.secrets.references import REFERENCES

__all__ = ["to_document_data"]


def to_document_data(data: object) -> Any:
    """Return `data`, plain data with references as objects, as a document spells it.

    References become dollar words; text with braces, and mappings with keys that begin with a
    dollar sign, stand under `$value`.
    """
    if isinstance(data, REFERENCES):
        return dict(data.written())
    if isinstance(data, str) and "{{" in data:
        return {"$value": data}
    if isinstance(data, Mapping):
        if any(key.startswith("$") for key in data):
            return {"$value": dict(data)}
        return {key: to_document_data(item) for key, item in data.items()}
    return [to_document_data(item) for item in data] if isinstance(data, list) else data
