"""References to values that live outside a profile, and the rule by which a name is a secret.

A secret is never part of a spec: `Env`, `File` and `Given` stand in its place, are written back
by dumps, and are resolved when a call is sent.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from lmconf.folders import with_home

__all__ = [
    "MASK",
    "PUBLIC_NAMES",
    "SECRET_WORDS",
    "Env",
    "File",
    "Given",
    "Masked",
    "Missing",
    "Public",
    "Reference",
    "Unshown",
    "as_type",
    "is_secret_name",
    "resolve",
    "resolve_parts",
]

MASK = "***"
"""What is shown in the place of a secret."""

EnvType = Literal["str", "int", "float", "bool"]


class Env(Struct, frozen=True):
    """`{$env: NAME}`: the environment variable `name`, read when a call is sent.

    `default` is used when the variable is unset; `type` converts the text; `format` holds one
    `{}` that the text replaces (`Bearer {}`).
    """

    name: str
    default: str | int | float | bool | None = None
    type: EnvType = "str"
    format: str | None = None

    def written(self) -> Mapping[str, str | int | float | bool]:
        """Return the reference as a document spells it."""
        text: dict[str, str | int | float | bool] = {"$env": self.name}
        if self.default is not None:
            text["default"] = self.default
        if self.type != "str":
            text["type"] = self.type
        if self.format is not None:
            text["format"] = self.format
        return text


class File(Struct, frozen=True):
    """`{$file: path}`: the text of a file, less one trailing newline."""

    path: str
    format: str | None = None

    def written(self) -> Mapping[str, str]:
        """Return the reference as a document spells it."""
        text = {"$file": self.path}
        if self.format is not None:
            text["format"] = self.format
        return text


class Given(Struct, frozen=True, kw_only=True):
    """`{$given: name}`: a value that code passed and that no document can hold."""

    name: str

    def written(self) -> Mapping[str, str]:
        """Return the reference as a document spells it."""
        return {"$given": self.name}


class Public(Struct, frozen=True):
    """`{$public: …}`: a literal that stands in a secret's place and is declared to be none."""

    value: str | int | float | bool | None

    def written(self) -> Mapping[str, str | int | float | bool | None]:
        """Return the value as a document spells it."""
        return {"$public": self.value}


class Masked:
    """What tools show by its own `__repr__`, and never by what it holds.

    rich, and with it structlog, would show each field of a msgspec Struct, whatever its `__repr__`
    says; sentry shows what is in a tuple, whatever its class.
    """

    __slots__ = ()

    def __rich_repr__(self) -> Any:
        """Return nothing to show: rich asks `__repr__` then."""
        return None


class Unshown(Masked, Mapping[str, str]):
    """Secrets by name that are there to be asked for, one by one.

    No repr shows them, and pickling leaves them behind.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Unshown({sorted(self._values)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return (Unshown, ())


Reference: TypeAlias = Env | File | Given | Public
"""What may stand where a spec holds no value of its own."""


_WHOLE = re.compile(r"[-+]?[0-9]{1,18}\Z")
_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))


def as_type(text: str, kind: EnvType) -> str | int | float | bool | None:
    """Return what a variable's `text` says as a value of the type `kind`, None where it is none."""
    stripped = text.strip()
    if kind == "str":
        return text
    if kind == "int":
        return int(stripped) if _WHOLE.match(stripped) else None
    if kind == "float":
        return _float(stripped)
    said = stripped.lower()
    return said in _TRUE if said in _TRUE | _FALSE else None


def _float(text: str) -> float | None:
    if len(text) > 100 or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class Missing(Exception):
    """A reference leads nowhere; the text says which and why, never a value."""


SECRET_WORDS = frozenset(
    """
    api_key api_keys apikey apikeys access_key access_keys account_key auth_key encryption_key
    key_id license_key master_key private_key secret_key shared_key signing_key ssh_key
    subscription_key webhook_key
    ad_token token auth_tokens access_tokens api_tokens
    secret secrets credential credentials password passwords passwd passphrase
    auth authorization cookie connection_string dsn jwt
    """.split()
)
"""Words that say "secret" where a name ends with them, whatever stands before."""

PUBLIC_NAMES = frozenset(
    """
    additional_special_token audio_token bos_token cls_token completion_token cost_per_token
    decoder_start_token end_token eom_token eos_token eot_token first_token image_token last_token
    mask_token max_new_token max_token min_token next_token num_token pad_token per_token
    prompt_token reasoning_token sep_token special_token start_token stop_token unk_token
    video_token
    """.split()
)
"""Names that end like a secret and are none: they tell how much text, or which."""

# The last words decide: remembering longer texts would cost memory for nothing.
_LONGEST_NAME = 200
_SUFFIXES = tuple(f"_{word}" for word in (*SECRET_WORDS, "pwd"))
_PUBLIC_SUFFIXES = tuple(f"_{name}" for name in PUBLIC_NAMES)
# Words that are also written as one: `secretkey`, `ACCESSTOKEN`.
_RUN_TOGETHER = tuple(
    "accesskey accesstoken authtoken bearertoken clientsecret passwd password privatekey secretkey"
    " sessiontoken".split()
)


def is_secret_name(name: str) -> bool:
    """Say whether a value under `name` must be a reference.

    Names are compared without case and a number at their end, with `-`, ` ` and `.` read as `_`,
    and camelCase split; the last words decide (`SECRET_WORDS`, `PUBLIC_NAMES`): `OPENAI_API_KEY`,
    `X-Api-Key`, `clientSecret` and `hf_token` are secret names; `max_tokens`, `eos_token` and
    `prompt_cache_key` are not. Of a name that is very long, its end decides.
    """
    return _is_secret_name(name[-_LONGEST_NAME:])


@functools.lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    flat = re.sub(r"[-. ]+", "_", spelled).strip("_").lower()
    flat = re.sub(r"(?<=key|ken|ret|ord)_?[0-9]+$|_[0-9]+$", "", flat)
    if flat in PUBLIC_NAMES or flat.endswith(_PUBLIC_SUFFIXES):
        return False
    return flat in SECRET_WORDS or flat.endswith((*_SUFFIXES, *_RUN_TOGETHER))


def resolve(reference: Env | File, environment: Mapping[str, str] | None = None) -> str:
    """Return the text that `reference` leads to, as it is now.

    Raises:
        Missing: the variable is unset and has no default, the file cannot be read, or the text
            holds control characters (a header or URL made from it could be split).
    """
    return resolve_parts(reference, environment)[0]


def resolve_parts(
    reference: Env | File, environment: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Return the text that `reference` leads to, and the part of it that comes from outside.

    The two differ where the reference has a `format`.

    Raises:
        Missing: as `resolve`.
    """
    if isinstance(reference, Env):
        text = _from_environment(reference, os.environ if environment is None else environment)
        what = f"environment variable {reference.name}"
    else:
        text = _from_file(reference)
        what = f"file {reference.path}"
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise Missing(f"{what} holds control characters")
    whole = text if reference.format is None else reference.format.replace("{}", text, 1)
    return whole, text


def _from_environment(reference: Env, environment: Mapping[str, str]) -> str:
    text = environment.get(reference.name)
    if text is not None:
        return text
    if reference.default is None:
        raise Missing(f"environment variable {reference.name} is not set")
    return str(reference.default)


def _from_file(reference: File) -> str:
    try:
        text = with_home(reference.path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Missing(f"file {reference.path} cannot be read: {type(error).__name__}") from None
    return text.removesuffix("\n").removesuffix("\r")
