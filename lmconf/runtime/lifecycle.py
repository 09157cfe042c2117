"""How an LM starts and ends its own server, and how it is closed."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from lmconf.errors import Closed, UsageError
from lmconf.runtime.lazy_transport import LazyTransport
from lmconf.runtime.related import RelatedLMs
from lmconf.runtime.resources import LMResources
from lmconf.runtime.server import LaunchedServer
from lmconf.spec import build
from lmconf.spec.compiled import CompiledLM
from lmconf.system.fork import Mutex
from lmconf.system.refcount import ResourceHold
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from typing_extensions import Self

    from lmconf.launchers.server_protocol import Server

__all__ = ["LifecycleMixin"]


class LifecycleMixin:
    """How an LM lets go of what it shares with its copies: connections, a server, other LMs."""

    _compiled: CompiledLM
    _closed: bool
    _lock: Mutex
    _server_hold: ResourceHold[LaunchedServer] | None
    _transport_hold: ResourceHold[LazyTransport]
    _others: ResourceHold[RelatedLMs]
    _resources: LMResources | None

    @hide_frames
    def launch(self, launch_kwargs: Mapping[str, Any] | None = None) -> Server:
        """Start this LM's own server if it is not running, and return it.

        Args:
            launch_kwargs: settings that override the profile's for this start alone: the
                server's address, time to start and environment. Settings that affect its answers
                (`use`, `weights`, `args`) belong to the LM: `lm.copy(launch_kwargs=…).launch()`.

        Returns:
            The running server.

        Raises:
            UsageError: the LM states no `launch_kwargs`, or those passed here would change its
                answers.
            ProfileError: those passed here do not fit.
            LaunchError: the server cannot be started, or it already runs with others.
            Closed: the LM was closed.
        """
        if self._closed:
            raise Closed("the LM was closed", lm=self._compiled.name)
        if self._server_hold is None:
            raise UsageError(
                f"{self._compiled.name} has no server of its own: state `launch_kwargs`"
            )
        if not launch_kwargs:
            return self._server_hold.shared.start()
        spec = build.change_lm(self._compiled, {"launch_kwargs": launch_kwargs}).spec.launch_kwargs
        assert spec is not None
        return self._server_hold.shared.start(spec)

    @hide_frames
    def kill(self, launch_kwargs: Mapping[str, Any] | None = None) -> None:
        """Stop this LM's own server if it runs; `launch` starts it again.

        One that `lmconf launch` keeps running is stopped, too, for everybody who uses it.

        Args:
            launch_kwargs: not used; `dspy.LM.kill` takes it.
        """
        if self._server_hold is not None:
            self._server_hold.shared.kill()

    @property
    def server(self) -> Server | None:
        """This LM's own server while it runs."""
        return None if self._server_hold is None else self._server_hold.shared.server

    @property
    def closed(self) -> bool:
        """Whether the LM was closed: a call raises `Closed` then."""
        return self._closed

    @hide_frames
    def close(self) -> None:
        """Close the LM: calls raise `Closed` from now on.

        Its connections and its server are closed with the last of its copies that is closed or
        gone, and calls that are under way then raise `Closed`, too. Connections of another event
        loop are closed when that loop next runs. Stores are shared by all LMs and stay open.
        """
        if self._is_to_close():
            self._transport_hold.end()
            if self._server_hold is not None:
                self._server_hold.end()
            self._others.end()

    @hide_frames
    async def aclose(self) -> None:
        """Close the LM as `close` does, and wait until the connections of this loop are closed."""
        if self._is_to_close():
            await self._transport_hold.aend()
            if self._server_hold is not None:
                await self._server_hold.aend()
            await self._others.aend()

    def _is_to_close(self) -> bool:
        with self._lock:
            before, self._closed = self._closed, True
        if not before and self._resources is not None and self._resources.dispatcher is not None:
            self._resources.dispatcher.close()
        return not before

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
