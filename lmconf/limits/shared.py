"""The gates of this process: one for each origin and credential.

Other processes have gates of their own, and know nothing of these.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable

from lmconf.forking import Mutex
from lmconf.limits.gate import Gate

__all__ = ["gate_of", "mark_of"]

MOST = 256
"""How many gates there are before those that nobody uses any more are forgotten."""


class _Gates:
    def __init__(self) -> None:
        self._gates: dict[bytes, Gate] = {}
        self._lock = Mutex()
        # Nobody can tell from a mark, in a dump of this memory say, which keys it might be of.
        self._secret = os.urandom(32)

    def mark_of(self, texts: Iterable[str]) -> bytes:
        digest = hashlib.blake2b(key=self._secret, digest_size=16)
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.digest()

    def gate_of(self, mark: bytes) -> Gate:
        with self._lock:
            gate = self._gates.get(mark)
            if gate is None:
                if len(self._gates) >= MOST:
                    self._gates = {key: gate for key, gate in self._gates.items() if gate.shared}
                gate = self._gates[mark] = Gate()
            return gate


@functools.cache
def _gates() -> _Gates:
    return _Gates()


def mark_of(texts: Iterable[str]) -> bytes:
    """Return a mark of an origin and a credential, equal within this process for equal `texts`.

    Nothing can be learnt of the texts from it.
    """
    return _gates().mark_of(texts)


def gate_of(mark: bytes) -> Gate:
    """Return the gate of this process for `mark`, made when it is first asked for."""
    return _gates().gate_of(mark)
