"""Calls that are really sent: CPU a call, calls a second in flight, and what the runtime adds."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.server import ANSWER, serving
from benchmarks.timing import Row, in_process

MODEL = "openai/benchmark"
PROMPT = "What is the capital of Japan?"
BODY = {
    "model": "benchmark",
    "messages": [{"role": "user", "content": PROMPT}],
    "temperature": 0.0,
    "max_tokens": 1000,
}
WIDTHS = (1, 16, 128)
CALLS = 384
ROUNDS = 3

Ask = Callable[[], Awaitable[object]]


def rows() -> Iterator[Row]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    yield from _added()
    with serving() as base:
        yield from asyncio.run(_measured(base))


class _Null:
    """A transport that costs nothing: what is left is the runtime."""

    def complete(self, request: object) -> dict[str, Any]:
        return {**ANSWER}

    async def acomplete(self, request: object) -> dict[str, Any]:
        return {**ANSWER}


def _added() -> Iterator[Row]:
    import lmconf
    from lmconf.runtime.lm import LM

    lmconf.register_transport("null", _Null)
    lm = lmconf.LM(MODEL, api_key="", transport="null", cache=False, pricing=PRICE)
    lm(PROMPT)
    mine, _ = in_process(lambda: lm(PROMPT), None, rounds=9, calls=500)
    yield Row("the runtime's own part of a call", mine * 1e6, "µs", "", None, "<= 60 µs")
    compiled = lm._compiled  # noqa: SLF001 - what the compiler hands over
    seconds, _ = in_process(lambda: LM.of(compiled), None, rounds=9, calls=500)
    yield Row("an LM made of a compiled spec", seconds * 1e6, "µs", "", None, "<= 15 µs")


PRICE = {"input": 0.15, "output": 0.6}


async def _measured(base: str) -> list[Row]:
    async with AsyncExitStack() as stack:
        peers: dict[str, Ask] = {}
        for name, make in _PEERS.items():
            if find_spec(name.split(".", 1)[0]) is not None:
                peers[name] = await stack.enter_async_context(make(base))
        for ask in peers.values():
            await _timed(ask, 16, 64)
        # A full collection goes through whatever all peers have imported, for a fifth of a second,
        # and counts for whoever runs just then.
        gc.collect()
        gc.freeze()
        rows: list[Row] = []
        for width in WIDTHS:
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
            for _ in range(ROUNDS):
                for name, ask in peers.items():
                    times[name].append(await _timed(ask, width, CALLS))
            rows += _rows_of(width, times)
        return rows


def _rows_of(width: int, times: dict[str, list[tuple[float, float]]]) -> Iterator[Row]:
    cpu = {name: statistics.median(x for x, _ in some) * 1e6 for name, some in times.items()}
    rate = {name: 1 / statistics.median(x for _, x in some) for name, some in times.items()}
    for name in times:
        if name != "lmconf":
            what = f"CPU of a call, {width} in flight"
            yield Row(what, cpu["lmconf"], "µs", name, cpu[name])
    for name in times:
        if name != "lmconf":
            what = f"calls a second, {width} in flight"
            yield Row(what, rate["lmconf"], "/s", name, rate[name])


async def _timed(ask: Ask, width: int, calls: int) -> tuple[float, float]:
    """Return the seconds of CPU and of time that one of `calls` takes, `width` at once."""
    left = iter(range(calls))

    async def work() -> None:
        for _ in left:
            await ask()

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(width)))
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


@asynccontextmanager
async def _lmconf(base: str) -> AsyncIterator[Ask]:
    import lmconf

    async with lmconf.LM(MODEL, api_base=base, api_key="none", cache=False, pricing=PRICE) as lm:
        yield lambda: lm.acall(PROMPT)


@asynccontextmanager
async def _dspy(base: str) -> AsyncIterator[Ask]:
    lm = import_module("dspy").LM(
        MODEL, api_base=base, api_key="none", temperature=0.0, max_tokens=1000, cache=False
    )
    yield lambda: lm.acall(PROMPT)


@asynccontextmanager
async def _litellm(base: str) -> AsyncIterator[Ask]:
    litellm = import_module("litellm")
    settings = {**BODY, "model": MODEL, "api_base": base, "api_key": "none"}
    yield lambda: litellm.acompletion(**settings)


@asynccontextmanager
async def _openai(base: str) -> AsyncIterator[Ask]:
    async with import_module("openai").AsyncOpenAI(base_url=base, api_key="none") as client:
        yield lambda: client.chat.completions.create(**BODY)


@asynccontextmanager
async def _httpx(base: str) -> AsyncIterator[Ask]:
    async with import_module("httpx").AsyncClient() as client:

        async def ask() -> object:
            return (await client.post(f"{base}/chat/completions", json=BODY)).json()

        yield ask


@asynccontextmanager
async def _aiohttp(base: str) -> AsyncIterator[Ask]:
    aiohttp = import_module("aiohttp")
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as client:

        async def ask() -> object:
            async with client.post(f"{base}/chat/completions", json=BODY) as answer:
                return json.loads(await answer.read())

        yield ask


_PEERS = {
    "lmconf": _lmconf,
    "dspy": _dspy,
    "litellm": _litellm,
    "openai": _openai,
    "httpx": _httpx,
    "aiohttp": _aiohttp,
}
