"""What tells the calls of one LM from others: their digests, and the servers that they go to."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from lmconf.errors import CallError
from lmconf.providers.catalogue import origin, provider_of
from lmconf.runtime.connection import base_address
from lmconf.runtime.identity import (
    IdentityFacts,
    References,
    describe_identity,
    describe_pool,
    digest_references,
    identity_digest,
    identity_facts,
    may_change,
    pool_digest,
    steering_references,
)
from lmconf.runtime.layers.pool import PoolMembers
from lmconf.runtime.server import OwnServer
from lmconf.runtime.spec_memo import SpecMemo
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.transports.specs import BUILT_IN

__all__ = ["CallIdentity"]


class _Digest(Struct, frozen=True, eq=False):
    """The digest of a spec, and the facts that it was made of; where `fixed`, it stays right."""

    references: References
    facts: IdentityFacts
    digest: bytes
    is_fixed: bool


class CallIdentity:
    """Says of the calls of one LM which have the same answer, and which go to the same server."""

    def __init__(
        self, compiled: CompiledLM, members: PoolMembers | None, own_server: OwnServer | None
    ) -> None:
        self._compiled = compiled
        self._members = members
        self._own_server = own_server
        self._is_fixed = not may_change(compiled.spec)
        self._own_digest: bytes | None = None
        self._digests: SpecMemo[_Digest] = SpecMemo()
        self._origins: SpecMemo[str] = SpecMemo()

    def digest_of(self, spec: LMSpec) -> bytes:
        """Return the digest of what all calls with `spec` have in common.

        Raises:
            CallError: an address or an account leads nowhere.
        """
        # Mostly it is the LM's own, and all that it refers to stays as it is.
        if self._own_digest is not None and spec is self._compiled.spec:
            return self._own_digest
        if self._members is not None:
            return self._digest_of_pool(spec, self._members)
        entry = self._digests.get(spec)
        if entry is not None and entry.is_fixed:
            return entry.digest
        references = steering_references(spec) if entry is None else entry.references
        facts = identity_facts(spec, self._compiled, references)
        if entry is not None and entry.facts == facts:
            return entry.digest
        digest = identity_digest(spec, facts)
        is_fixed = not may_change(spec)
        self._digests.set(spec, _Digest(references, facts, digest, is_fixed))
        if is_fixed and spec is self._compiled.spec:
            self._own_digest = digest
        return digest

    def describe(self, spec: LMSpec) -> dict[str, Any]:
        """Return by name what makes the answers to calls with `spec` differ from others.

        Raises:
            CallError: an address or an account leads nowhere.
        """
        if self._members is not None:
            facts = digest_references(steering_references(spec), self._compiled)
            return describe_pool(spec, facts, self.digest_of(spec))
        return describe_identity(spec, identity_facts(spec, self._compiled))

    def _digest_of_pool(self, spec: LMSpec, members: PoolMembers) -> bytes:
        facts = digest_references(steering_references(spec), self._compiled)
        if spec.endpoint is not None:
            return pool_digest(spec, facts, ())
        every = [members.parts(index) for index in range(len(members))]
        of_members = [(m.spec, identity_facts(m.spec, m.compiled)) for m in every]
        return pool_digest(spec, facts, of_members)

    def origin_of(self, spec: LMSpec) -> str:
        """Return what tells the server of a call with `spec` from others: its origin, most often.

        It is empty where the address leads nowhere, of which the call itself will tell.
        """
        entry = self._origins.get(spec)
        if entry is None or not self._is_fixed:
            entry = self._origins.set(spec, self._find_origin(spec))
        return entry

    def _find_origin(self, spec: LMSpec) -> str:
        members = self._members
        if members is not None:
            every = [members.parts(index) for index in range(len(members))]
            return " ".join(sorted({parts.identity.origin_of(parts.spec) for parts in every}))
        if self._own_server is not None:
            return self._own_server.origin
        prefix = "" if spec.transport.use in BUILT_IN else f"{spec.transport.use}:"
        try:
            base = base_address(spec, self._compiled)
        except CallError:
            return ""
        return prefix + (origin(base) if base else provider_of(spec.model)[0])
