"""What every test of the wire needs: the variables of others, and who was connected to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.wire.environment import MARKS


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which every provider's variables are set, and lead elsewhere."""
    for name, mark in MARKS.items():
        monkeypatch.setenv(name, mark)


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that this process connects to."""
    addresses: list[Any] = []
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def noting(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            addresses.append(address)
        connect(self, address)

    def noting_ex(self: socket.socket, address: Any) -> int:
        if self.family != socket.AF_UNIX:
            addresses.append(address)
        return connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", noting)
    monkeypatch.setattr(socket.socket, "connect_ex", noting_ex)
    return addresses
