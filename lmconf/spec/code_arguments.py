"""Settings given in code, taken apart: what a file could say, and what stays beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct

from lmconf.document.nodes import Path
from lmconf.document.yaml.limits import DEPTH
from lmconf.errors import UsageError
from lmconf.schema.declaration import fields
from lmconf.secrets.references import Given
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.lm import LMSpec
from lmconf.spec.response_format import format_as_data

__all__ = ["given_names", "split_settings"]


def split_settings(
    settings: Mapping[str, object],
) -> tuple[dict[str, Any], dict[str, str], tuple[object, ...], list[str]]:
    """Take settings given in code apart.

    Returns:
        What a document could say, with a `Given` in the place of each secret; the secrets, by their
        dotted paths; callbacks that are objects; and the names of fields that are None and know no
        null, which is to say "left out".

    Raises:
        UsageError: something is nested too deeply, or a class has no JSON Schema.
    """
    given: dict[str, str] = {}
    plain: dict[str, Any] = {}
    unset: list[str] = []
    declared = fields(LMSpec)
    live: tuple[object, ...] = ()
    for name, value in settings.items():
        field = declared.get(name)
        if value is None and field is not None and not field.shape.fits(None):
            unset.append(name)
            continue
        if name == "callbacks" and isinstance(value, list | tuple):
            data = [item for item in value if isinstance(item, str | Mapping | Struct)]
            live = tuple(item for item in value if not isinstance(item, str | Mapping | Struct))
            plain[name] = [_without_secrets(item, (name,), False, given) for item in data]
            continue
        if name == "response_format":
            value = format_as_data(value)  # noqa: PLW2901 - a class stands for its schema
        secret = field is not None and field.shape.choose(value).is_secret
        plain[name] = _without_secrets(value, (name,), secret or is_secret_name(name), given)
    return plain, given, live, unset


def _without_secrets(value: object, path: Path, secret: bool, given: dict[str, str]) -> Any:
    """Return `value` with each literal secret in it replaced by `Given(its dotted path)`."""
    if len(path) > DEPTH:
        raise UsageError(f"`{path[0]}` is nested more than {DEPTH} deep")
    if isinstance(value, Mapping):
        # Where a document may stand, it is a reference; where it is data, the check finds secrets.
        if any(word in value for word in ("$env", "$file", "$given", "$public")):
            return dict(value)
        return {
            key: _without_secrets(item, (*path, key), secret or is_secret_name(str(key)), given)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [
            _without_secrets(item, (*path, index), secret, given)
            for index, item in enumerate(value)
        ]
    if secret and isinstance(value, str) and value:
        name = _name_of(path)
        given[name] = value
        return Given(name=name)
    return value


def _name_of(path: Path) -> str:
    """Return the dotted `path`, and what tells it from others where a dot or space hides that."""
    steps = [str(step) for step in path]
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", ".".join(steps))
    if name.split(".") == steps:
        return name
    return f"{name}-{sha256(json.dumps(steps).encode()).hexdigest()[:8]}"


def given_names(data: object) -> Iterator[str]:
    """Yield the names of the values given in code that `data` refers to."""
    if isinstance(data, Given):
        yield data.name
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from given_names(value)
    elif isinstance(data, list):
        for value in data:
            yield from given_names(value)
