"""A server is ready when it lists the right model, and not when a port is merely open."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers.health import ReadinessCheck, await_ready, served_models


@contextmanager
def answering(*replies: tuple[int, bytes]) -> Iterator[str]:
    """A server that gives the replies in turn, the last of them for ever."""
    left = list(replies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def waiting(url: str | None, timeout: float = 5.0, death: str | None = None) -> ReadinessCheck:
    return ReadinessCheck(
        names=("m",),
        path="/v1/models",
        timeout=timeout,
        interval=0.01,
        find=lambda: url,
        death=lambda: death,
    )


LISTED = b'{"object": "list", "data": [{"id": "a"}, {"id": "m"}]}'


def test_the_models_are_read_from_the_list() -> None:
    with answering((200, LISTED)) as url:
        assert served_models(url, "/v1/models", 5.0) == ("a", "m")


@pytest.mark.parametrize(
    "reply",
    [(503, LISTED), (200, b"loading"), (200, b'{"data": 3}'), (200, b"[]"), (200, b"\xff")],
)
def test_what_is_no_list_is_no_answer(reply: tuple[int, bytes]) -> None:
    with answering(reply) as url:
        assert served_models(url, "/v1/models", 5.0) is None


def test_a_proxy_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering((200, LISTED)) as url:
        assert served_models(url, "/v1/models", 5.0) == ("a", "m")


def test_a_server_that_first_loads_is_waited_for() -> None:
    with answering((503, b""), (200, b'{"data": []}'), (200, LISTED)) as url:
        assert await_ready(waiting(url)) == url


def test_another_model_is_an_error_at_once() -> None:
    with (
        answering((200, b'{"data": [{"id": "b"}]}')) as url,
        pytest.raises(LaunchError, match="serves 'b', not 'm'"),
    ):
        await_ready(waiting(url, timeout=60.0))


def test_an_open_port_that_says_nothing_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(LaunchError, match=r"not ready within 0\.5s"):
            await_ready(waiting(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.5))
    assert time.monotonic() - begun < 5


def test_an_address_that_never_comes_is_a_timeout() -> None:
    with pytest.raises(LaunchError, match=r"not ready within 0.1s; raise `ready.timeout`"):
        await_ready(waiting(None, timeout=0.1))


def test_a_death_ends_the_waiting() -> None:
    begun = time.monotonic()
    with pytest.raises(LaunchError, match="it fell over"):
        await_ready(waiting(None, timeout=60.0, death="it fell over"))
    assert time.monotonic() - begun < 5
