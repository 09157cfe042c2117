"""What a profile says of stores and of how an LM uses them."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.schema import (
    Choice,
    Duration,
    Either,
    Flag,
    Integer,
    Kinds,
    ListOf,
    Record,
    Referable,
    Size,
    Text,
)
from lmconf.schema.declaration import Spec, connection, identity, operations
from lmconf.secrets.references import Reference


class MemoryStore(Spec, frozen=True, kw_only=True):
    """Answers kept in this process, the least recently used dropped first."""

    backend: Annotated[
        Literal["memory"], operations(Choice(("memory",)), "The kind of store.", untrusted=True)
    ] = "memory"
    max_entries: Annotated[
        int,
        operations(Integer(1), "How many answers are kept.", examples=(10_000,), untrusted="lower"),
    ] = 10_000
    max_size: Annotated[
        int,
        operations(
            Size(), "How many bytes of answers are kept.", examples=("64MiB",), untrusted="lower"
        ),
    ] = 64 * 2**20


class DiskStore(Spec, frozen=True, kw_only=True):
    """Answers kept in one SQLite file, shared by the processes of one machine."""

    __risk__ = "write files, or change the size of this machine's store"

    backend: Annotated[Literal["disk"], operations(Choice(("disk",)), "The kind of store.")] = (
        "disk"
    )
    path: Annotated[
        str | None,
        operations(
            Text(what="a folder", path="path"),
            "The folder of the file; left out, `$LMCONF_CACHE_DIR` or the user's cache folder.",
            examples=("~/.cache/lmconf",),
        ),
    ] = None
    max_size: Annotated[
        int, operations(Size(), "How large the file may grow.", examples=("2GiB",))
    ] = 2 * 2**30


class RedisStore(Spec, frozen=True, kw_only=True):
    """Answers kept in a Redis server, shared by the machines of a team."""

    __risk__ = "choose where answers are kept"

    backend: Annotated[Literal["redis"], operations(Choice(("redis",)), "The kind of store.")]
    url: Annotated[
        str | Reference,
        connection(
            Referable(Text(what="an address")),
            "The server's address; a password in it must come from a reference.",
            examples=({"$env": "REDIS_URL"},),
        ),
    ]
    namespace: Annotated[
        str, operations(Text(), "Keeps apart what shares the server.", examples=("support",))
    ]
    disk: Annotated[
        bool, operations(Flag(), "Whether this machine's default disk store keeps them, too.")
    ] = True


StoreSpec = MemoryStore | DiskStore | RedisStore
STORE_SPECS: dict[str, type[Spec]] = {
    "memory": MemoryStore,
    "disk": DiskStore,
    "redis": RedisStore,
}
STORE = Kinds("backend", STORE_SPECS)


Keepable = Literal["tool_calls", "truncated", "filtered", "empty"]
KEEPABLE = ("tool_calls", "truncated", "filtered", "empty")
"""What an answer may be that is stored only where `cache.keep` names it."""


class CachePolicy(Spec, frozen=True, kw_only=True):
    """How an LM's answers are kept and found again."""

    mode: Annotated[
        Literal["read_write", "read_only", "refresh", "disabled"],
        operations(
            Choice(("read_write", "read_only", "refresh", "disabled")),
            "`read_only` never stores, `refresh` never reads, `disabled` does neither.",
            untrusted=True,
        ),
    ] = "read_write"
    store: Annotated[
        str | StoreSpec,
        operations(
            Either((Text(what="a store's name"), STORE)),
            "The store: a name from `stores`, or a store written in place.",
            examples=("disk",),
            untrusted=True,
            names="stores",
        ),
    ] = DiskStore()
    ttl: Annotated[
        float | None,
        operations(
            Duration(),
            "How long an answer may be used; left out, for ever.",
            examples=("7d",),
            untrusted=True,
        ),
    ] = None
    keep: Annotated[
        tuple[Keepable, ...],
        operations(
            ListOf(Choice(KEEPABLE), single=True),
            "What is stored beside whole answers in words: answers that call tools, and those that"
            " `max_tokens` cut short, a content filter touched, or that say nothing.",
            examples=(["tool_calls", "truncated"],),
            untrusted=True,
        ),
    ] = ("tool_calls",)
    namespace: Annotated[
        str | None,
        identity(
            Text(),
            "Tells accounts or experiments apart that ask the same question.",
            risk="read what was kept for others",
        ),
    ] = None


def cache_shorthand(short: object) -> dict[str, object] | None:
    """Return the policy that `cache: true` or `cache: false` stands for, None for other values."""
    if isinstance(short, bool):
        return {"mode": "read_write" if short else "disabled"}
    return None


CACHE = Record(CachePolicy, shorthand=cache_shorthand, short=Flag())
