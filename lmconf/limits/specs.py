"""What a profile says of how much may be asked at once."""

from __future__ import annotations

from typing import Annotated, Literal

from lmconf.schema import Choice, Either, Integer
from lmconf.schema.declaration import Spec, operations


class Limits(Spec, frozen=True, kw_only=True):
    """How much may be asked at once, shared by LMs of one origin and credential."""

    max_concurrency: Annotated[
        int | Literal["adaptive"] | None,
        operations(
            Either((Integer(1), Choice(("adaptive",)))),
            "How many requests may be in flight, or `adaptive`.",
            examples=(8, "adaptive"),
        ),
    ] = None
    rpm: Annotated[int | None, operations(Integer(1), "Requests in any 60 seconds.")] = None
    tpm: Annotated[
        int | None, operations(Integer(1), "Tokens of prompts and answers in any 60 seconds.")
    ] = None
