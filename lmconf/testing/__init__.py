"""For tests of one's own: fakes, a contract for transports, and Hypothesis strategies.

`fake` answers LMs from a script, and `TransportContract` shows what a transport owes; both need
nothing but lmconf. The strategies for settings, LMs, profiles and states are read from the declared
shapes of the spec types, so a field that is declared is drawn. They need Hypothesis, which is no
dependency of lmconf: install `lmconf-runtime[testing]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmconf.system.lazy import lazy_attributes

if TYPE_CHECKING:
    from lmconf.testing.atoms import json_values, references, texts
    from lmconf.testing.blocks import IMPORTS, NAMES, values
    from lmconf.testing.contracts import TransportContract
    from lmconf.testing.document_data import to_document_data
    from lmconf.testing.fakes import Fake, fake
    from lmconf.testing.many_lms import documents, profiles, states
    from lmconf.testing.one_lm import compiled_lms, lm_data, lms, settings
    from lmconf.testing.scripts import Asked, Said, answer

# What needs Hypothesis.
_DRAWN: dict[str, str] = {
    "IMPORTS": "blocks",
    "NAMES": "blocks",
    "compiled_lms": "one_lm",
    "documents": "many_lms",
    "json_values": "atoms",
    "lm_data": "one_lm",
    "lms": "one_lm",
    "profiles": "many_lms",
    "references": "atoms",
    "settings": "one_lm",
    "to_document_data": "document_data",
    "states": "many_lms",
    "texts": "atoms",
    "values": "blocks",
}

_HOMES: dict[str, str] = {
    **_DRAWN,
    "Asked": "scripts",
    "Fake": "fakes",
    "Said": "scripts",
    "TransportContract": "contracts",
    "answer": "scripts",
    "fake": "fakes",
}

__all__ = [
    "IMPORTS",
    "NAMES",
    "Asked",
    "Fake",
    "Said",
    "TransportContract",
    "answer",
    "compiled_lms",
    "documents",
    "fake",
    "json_values",
    "lm_data",
    "lms",
    "profiles",
    "references",
    "settings",
    "states",
    "texts",
    "to_document_data",
    "values",
]


_load = lazy_attributes(__name__, _HOMES)


def __getattr__(name: str) -> object:
    if name in _DRAWN:
        from lmconf.system.optional import require

        require("hypothesis", "testing", f"lmconf.testing.{name}")
    return _load(name)


def __dir__() -> list[str]:
    return [*__all__]
