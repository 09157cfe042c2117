"""Which gate a call passes: that of the origin and the credential that it is sent with."""

from __future__ import annotations

from collections.abc import Iterator

from lmconf import limits
from lmconf.frames import without_frames
from lmconf.limits import Share
from lmconf.profile.compiled import Compiled
from lmconf.profile.lm import LMSpec
from lmconf.profile.providers import origin, provider_of
from lmconf.runtime.connecting import base_of, resolved
from lmconf.secrets import is_secret_name
from lmconf.spec.declaring import fields

__all__ = ["Gating"]

MOST_SHARES = 16
"""In how many gates one LM has a share at once, should its credential change from call to call."""

_CREDENTIALS = tuple(name for name, field in fields(LMSpec).items() if field.role == "secret")
# What tells accounts and places of clouds apart, which have no address of their own.
_PLACES = ("aws_profile_name", "aws_region_name", "vertex_project", "vertex_location")


class Gating:
    """The shares of one LM that states `limits`."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._shares: dict[bytes, Share] = {}

    def share_of(self, spec: LMSpec) -> Share:
        """Return the LM's share in the gate that a call with `spec` passes.

        Raises:
            CallError: an address or a credential leads nowhere.
        """
        mark = self._mark_of(spec)
        share = self._shares.get(mark)
        if share is None:
            assert spec.limits is not None
            if len(self._shares) >= MOST_SHARES:
                self._shares = {}
            share = self._shares.setdefault(mark, limits.gate_of(mark).share(spec.limits))
        return share

    @without_frames
    def _mark_of(self, spec: LMSpec) -> bytes:
        return limits.mark_of(self._said(spec))

    def _said(self, spec: LMSpec) -> Iterator[str]:
        """Yield what tells origins and credentials apart."""
        compiled, server = self._compiled, spec.launch_kwargs
        base = None if server is not None else base_of(spec, compiled)
        if server is not None:
            yield f"server {server.use} {hash(server)} {spec.model}"
        elif base is not None:
            yield origin(base)
        else:
            yield provider_of(spec.model)[0]
            for name in _PLACES:
                yield resolved(getattr(spec, name), compiled, (name,)) or ""
        for name in _CREDENTIALS:
            yield resolved(getattr(spec, name), compiled, (name,)) or ""
        for name, value in spec.headers.items():
            if is_secret_name(name):
                yield f"{name.lower()}: {resolved(value, compiled, ('headers', name))}"
