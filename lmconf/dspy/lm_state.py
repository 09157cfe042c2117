"""What a saved program says of an LM, and what it may not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmconf.dspy.call_arguments import GENERATION
from lmconf.errors import UsageError
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["STATE", "refuse_secrets", "steering_of"]

STATE = "lmconf"
"""The key of a saved LM's state under which everything of lmconf stands."""


def steering_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a saved record says was changed beside the LM's own settings.

    Raises:
        UsageError: it would change more than how answers are steered, or read a value from outside.
    """
    settings = dict(record.get("settings") or {})
    for name, value in settings.items():
        if name not in GENERATION and not (name == "cache" and isinstance(value, bool)):
            raise UsageError(f"a saved LM cannot contain `{name}`: state it in the profile")
    if word := _reference(settings):
        raise UsageError(
            f"a saved LM cannot contain the reference `{word}`: state it in the profile"
        )
    return settings


def _reference(value: object) -> str | None:
    """Return the word by which anything in `value` refers to a value outside."""
    inside: list[object] = []
    if isinstance(value, Mapping):
        if word := next((word for word in ("$env", "$file", "$given") if word in value), None):
            return word
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    return next((word for item in inside if (word := _reference(item))), None)


def refuse_secrets(value: object, path: tuple[str, ...] = ()) -> None:
    """See that no secret is stated in `value`, at any depth.

    Raises:
        UsageError: a value stands under the name of a secret.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, str) and item and is_secret_name(str(key)):
                field = ".".join((*path, str(key)))
                raise UsageError(f"`{field}` is a secret: state it in the profile, by reference")
            refuse_secrets(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_secrets(item, path)
