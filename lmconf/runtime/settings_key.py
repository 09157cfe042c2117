"""The digest of a call's settings, under which what was once checked is found again."""

from __future__ import annotations

import marshal
from collections.abc import Hashable, Mapping
from hashlib import blake2b

from lmconf.spec.response_format import is_class

__all__ = ["content_key"]

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
