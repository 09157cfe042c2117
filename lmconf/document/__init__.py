"""Documents: YAML or JSON text as nodes that remember their place, and plain values as text.

The parser is loaded by the first `read_document`; the nodes alone cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmconf.document.nodes import (
    Broken,
    Change,
    Document,
    Map,
    Node,
    Path,
    Plain,
    Public,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    at,
    from_plain,
    map_scalars,
    nearest_mark,
    to_plain,
)
from lmconf.system.lazy import lazy_attributes

if TYPE_CHECKING:
    from lmconf.document.yaml.reader import read_document, read_value
    from lmconf.document.yaml.writer import write

__all__ = [
    "Broken",
    "Change",
    "Document",
    "Map",
    "Node",
    "Path",
    "Plain",
    "Public",
    "Reference",
    "Scalar",
    "Seq",
    "Verbatim",
    "at",
    "from_plain",
    "map_scalars",
    "nearest_mark",
    "read_document",
    "read_value",
    "to_plain",
    "write",
]

_LAZY = {"read_document": "yaml.reader", "read_value": "yaml.reader", "write": "yaml.writer"}


__getattr__ = lazy_attributes(__name__, _LAZY)
