"""What is remembered of the specs of calls, so that it is worked out once."""

from __future__ import annotations

import marshal
from collections.abc import Hashable, Mapping
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from lmconf.spec.build import spec_for_call
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.spec.response_format import is_class

__all__ = ["MOST_REMEMBERED", "CallSpecs", "SpecMemo", "content_key"]

MOST_REMEMBERED = 256
"""How many different settings of calls are remembered with what follows from them."""

T = TypeVar("T")


class SpecMemo(Generic[T]):
    """Values that follow from a spec, by the spec's own id; all are forgotten when they are many."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        # A spec is kept beside its value, so that no other object can take over its id.
        self._entries: dict[int, tuple[LMSpec, T]] = {}

    def get(self, spec: LMSpec) -> T | None:
        """Return the value that was set for `spec`; None where none is remembered."""
        entry = self._entries.get(id(spec))
        return None if entry is None else entry[1]

    def set(self, spec: LMSpec, value: T) -> T:
        """Remember `value` for `spec`, and return it."""
        if len(self._entries) >= MOST_REMEMBERED:
            self._entries = {}
        self._entries[id(spec)] = (spec, value)
        return value


class CallSpecs:
    """The specs of the calls to one LM that have settings of their own."""

    def __init__(self, compiled: CompiledLM) -> None:
        self._compiled = compiled
        self._specs: dict[Hashable, LMSpec] = {}

    def spec_of(self, settings: Mapping[str, Any]) -> LMSpec:
        """Return the LM's spec with `settings` laid over it: the same one for the same settings.

        Raises:
            ProfileError, UsageError: they do not fit.
        """
        key = content_key(settings)
        if key is None:
            return spec_for_call(self._compiled, settings)
        spec = self._specs.get(key)
        if spec is None:
            spec = spec_for_call(self._compiled, settings)
            if len(self._specs) >= MOST_REMEMBERED:
                self._specs = {}
            self._specs[key] = spec
        return spec


# The last version without shared references and interned strings, which depend on how a value was
# made; every kind of number, and the order of keys, is told apart.
_VERSION = 2
# Settings beyond this size are checked anew each time rather than kept.
_LARGEST = 1 << 19


def content_key(settings: Mapping[str, object]) -> Hashable | None:
    """Return what is equal for settings of the same content alone, whoever made them.

    `1`, `1.0` and `True` are different contents, and so are mappings in another order. Nothing of
    the settings is in it but a digest, and the class that a `response_format` may be. It is None
    for what is no plain data (subclasses of its types among it), and for very much of it.
    """
    form = settings.get("response_format")
    if form is not None and is_class(form):
        settings = {name: value for name, value in settings.items() if value is not form}
    else:
        form = None
    try:
        # One step for the interpreter: no other thread changes a list meanwhile.
        text = marshal.dumps(settings, _VERSION)  # type: ignore[arg-type] # else ValueError
        hash(form)
    except (ValueError, TypeError):
        return None
    if len(text) > _LARGEST:
        return None
    digest = blake2b(text, digest_size=32).digest()
    return digest if form is None else (digest, form)
