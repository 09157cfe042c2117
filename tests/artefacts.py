"""A secret for tests, and everything that it could be read off."""

from __future__ import annotations

import asyncio
import base64
import io
import pickle
import traceback
import warnings
from collections.abc import Callable

import pytest

from lmconf.diagnostics.render import to_json, to_text
from lmconf.errors import Error, ProfileError
from lmconf.runtime import LM

MARK = "Zq7vR-unseen-marker-93kd"
"""The secret. It has the shape of no known key, so that no mask finds it by its looks."""
PARTS = [MARK[:14], MARK[-14:], base64.b64encode(f"user:{MARK}".encode()).decode()[:-4]]
"""What would give it away: also its halves, for texts that were cut in its middle."""


def held(artefacts: dict[str, str | bytes]) -> list[str]:
    """Return the names of the artefacts that hold the secret, or a part of it."""
    return [
        name
        for name, made in artefacts.items()
        if any(part.encode() in made if isinstance(made, bytes) else part in made for part in PARTS)
    ]


def _chain(error: BaseException) -> list[BaseException]:
    """Return `error` with everything that it was raised for or in the course of."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        told = waiting.pop()
        if told is not None and told not in found:
            found.append(told)
            waiting += [told.__cause__, told.__context__]
    return found


def of_error(error: BaseException) -> dict[str, str | bytes]:
    """Return everything that may be read off an error, locals of our frames included."""
    made: dict[str, str | bytes] = {
        "str": str(error),
        "repr": repr(error),
        "args": repr(error.args),
        "dict": repr(vars(error)),
        "cause": repr(error.__cause__),
        "context": repr(error.__context__),
        "pickle": pickle.dumps(error),
        "pickle, read": repr(vars(pickle.loads(pickle.dumps(error)))),
    }
    for depth, told in enumerate(_chain(error)):
        shown = traceback.TracebackException(
            type(told), told, told.__traceback__, capture_locals=True
        )
        for number, frame in enumerate(shown.stack):
            # A test knows the secret, and its own frames may.
            if "/tests/" not in frame.filename:
                made[f"locals {depth}.{number} {frame.name}"] = repr(frame.locals)
    return made


def pickled(thing: object) -> bytes:
    """Return `thing` pickled, or the words of the refusal."""
    try:
        return pickle.dumps(thing)
    except TypeError as refusal:
        return str(refusal).encode()


def of_lm(lm: LM) -> dict[str, str | bytes]:
    """Return everything that an LM tells of itself."""
    shown = io.StringIO()
    lm.inspect_history(n=100, file=shown)
    compiled = lm._compiled
    made: dict[str, str | bytes] = {
        "inspect_history": shown.getvalue(),
        "history": repr(list(lm.history)),
        "kwargs": repr(lm.kwargs),
        "pickled history": pickle.dumps(list(lm.history)),
        "compiled": f"{compiled} {compiled!r} {compiled.given!r}",
        "pickled compiled": pickled(compiled),
        "vars": repr(vars(lm)),
        "vars of its parts": repr(vars(lm._parts())),
    }
    for name, thing in {"lm": lm, "spec": lm.spec, "copy": lm.copy(temperature=0.5)}.items():
        made |= {f"str {name}": str(thing), f"repr {name}": repr(thing)}
        made[f"pickled {name}"] = pickled(thing)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for style in ("resolved", "minimal", "dspy"):
            made[f"state {style}"] = repr(lm.dump_state(style))
    made["warnings"] = " ".join(str(warning.message) for warning in warned)
    return made


def failure_of(act: Callable[[], object]) -> BaseException:
    """Return what `act` raises, which is something that lmconf raises on purpose."""
    with pytest.raises(Error) as raised:
        act()
    return raised.value


def shown(error: BaseException) -> dict[str, str | bytes]:
    """Return everything that may be read off an error and its diagnostics."""
    made = of_error(error)
    if isinstance(error, ProfileError):
        made |= {"text": to_text(error.diagnostics), "json": repr(to_json(error.diagnostics))}
    return made


WAYS = ("sync", "async", "stream", "astream")


def ask(lm: LM, way: str) -> str:
    async def awaited() -> str:
        return (await lm.aask("hi")).text

    async def streamed() -> str:
        async with lm.astream("hi") as pieces:
            return "".join([piece async for piece in pieces])

    match way:
        case "sync":
            return lm.ask("hi").text
        case "async":
            return asyncio.run(awaited())
        case "stream":
            with lm.stream("hi") as pieces:
                return "".join(pieces)
        case _:
            return asyncio.run(streamed())
