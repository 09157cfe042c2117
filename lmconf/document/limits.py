"""How large a document may be: the same for reading and writing."""

from __future__ import annotations

__all__ = ["DEPTH", "LENGTH", "NODES"]

LENGTH = 2 * 1024 * 1024
"""The most characters (or bytes) of a text."""
DEPTH = 64
"""The most collections inside one another, aliases followed."""
NODES = 100_000
"""The most keys and values of a text, aliases followed, and of all LMs with what they inherit."""
