"""Answer formats that DSPy states as classes, as the OpenAI API writes them."""

from __future__ import annotations

from typing import Any

__all__ = ["format_of"]

_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")


def format_of(value: Any) -> Any:
    """Return a model of pydantic as a strict JSON Schema format, and anything else as it is."""
    schema = getattr(value, "model_json_schema", None)
    if not isinstance(value, type) or not callable(schema):
        return value
    named = {"name": value.__name__, "schema": _strict(schema()), "strict": True}
    return {"type": "json_schema", "json_schema": named}


def _strict(schema: Any) -> Any:
    """Return `schema` with every object closed and every property required.

    Strict formats know no defaults, and nothing beside a `$ref` (OpenAI API reference,
    "Structured model outputs").
    """
    if not isinstance(schema, dict):
        return schema
    strict = {key: value for key, value in schema.items() if key != "default"}
    for key in _MAPS:
        if isinstance(strict.get(key), dict):
            strict[key] = {name: _strict(one) for name, one in strict[key].items()}
    for key in _LISTS:
        if isinstance(strict.get(key), list):
            strict[key] = [_strict(one) for one in strict[key]]
    if isinstance(strict.get("items"), dict):
        strict["items"] = _strict(strict["items"])
    if strict.get("type") == "object":
        strict.setdefault("additionalProperties", False)
        strict["required"] = list(strict.get("properties", {}))
    if "$ref" in strict and len(strict) > 1:
        strict["anyOf"] = [{"$ref": strict.pop("$ref")}]
    return strict
