"""Ports: a stated one is seen to be free, and stays its server's while that starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers.ports import claim_port, reserve_port
from lmconf.launchers.start import start
from tests.unit.launchers.scripted import QUICK, models_server


def take(host: str, port: int) -> None:
    with claim_port(host, port):
        pass


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_port_that_something_listens_on_is_taken_until_it_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} on 127.0.0.1 is taken: choose"):
            take("127.0.0.1", port)
    take("127.0.0.1", port)


def test_a_port_that_another_start_has_its_eye_on_is_taken(state: Path) -> None:
    with reserve_port("127.0.0.1") as port:
        pass
    started_on = pytest.raises(LaunchError, match="a server is being started on it")
    with claim_port("127.0.0.1", port), started_on:
        take("127.0.0.1", port)
    with claim_port("127.0.0.1", port):
        assert (state / "ports" / str(port)).exists()


def test_a_state_folder_that_cannot_be_made_takes_no_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LMCONF_STATE_DIR", str(tmp_path / "file" / "state"))
    with reserve_port("127.0.0.1") as port:
        pass
    take("127.0.0.1", port)


def test_who_has_a_port_is_named_if_it_is_a_server_of_ours(state: Path) -> None:
    folder = state / "servers" / "one"
    folder.mkdir(parents=True)
    server = start(models_server(folder), QUICK)
    port = int(server.url.rpartition(":")[2])
    try:
        with pytest.raises(
            LaunchError, match=rf"taken by the server of wanted \(pid {server.pid}\)"
        ):
            take("127.0.0.1", port)
    finally:
        server.stop()


def test_a_host_that_is_not_of_this_machine_is_named() -> None:
    with pytest.raises(LaunchError, match=r"port 8080 on 192\.0\.2\.1"):
        take("192.0.2.1", 8080)
