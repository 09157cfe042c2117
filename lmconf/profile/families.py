"""Families of models with rules of their own, as a table.

OpenAI's reasoning models accept only the default temperature, take the answer's length as
`max_completion_tokens`, and spend part of it on thinking (OpenAI API reference, "Reasoning
models"; the floor of 5,000 tokens is that of `dspy.LM`).
"""

from __future__ import annotations

import re

from msgspec import Struct

__all__ = ["FAMILIES", "Family", "family_of", "wire_max_tokens"]


class Family(Struct, frozen=True):
    """The rules of one family.

    `pattern` is matched against the start of the model's own name. `temperatures` are the values
    that it accepts beside null (None: any). Unset fields take `temperature` and `max_tokens`.
    """

    name: str
    pattern: str
    temperature: float | None
    max_tokens: int
    temperatures: tuple[float, ...] | None = None
    token_floor: int = 1
    tokens_field: str = "max_tokens"


_ORDINARY = Family("ordinary", "", temperature=0.0, max_tokens=1000)

FAMILIES: tuple[Family, ...] = (
    # A chat-tuned sibling of a reasoning family follows the ordinary rules.
    Family("gpt-5-chat", r"gpt-5(\.\d+)?-chat", temperature=0.0, max_tokens=1000),
    Family(
        "openai-reasoning",
        r"(o[134](-mini)?(-pro|-preview|-deep-research)?"
        r"|gpt-5(\.\d+)?(-mini|-nano|-pro|-codex(-mini|-max)?)?)"
        r"(-\d{4}-\d{2}-\d{2})?$",
        temperature=1.0,
        max_tokens=16_000,
        temperatures=(1.0,),
        token_floor=5_000,
        tokens_field="max_completion_tokens",
    ),
)


def family_of(model: str, base_model: str | None = None) -> Family:
    """Return the family of `base_model` if it is named, else of `model`."""
    name = (base_model or model).rpartition("/")[2].lower()
    for family in FAMILIES:
        if re.match(family.pattern, name):
            return family
    return _ORDINARY


def wire_max_tokens(model: str, base_model: str | None = None) -> str:
    """Return the name under which `max_tokens` is sent for this model."""
    return family_of(model, base_model).tokens_field
