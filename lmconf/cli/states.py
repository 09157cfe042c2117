"""States of what is chosen on the command line, as plain data and as text."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any, Literal

from lmconf.cli.terminal import fit, tell

if TYPE_CHECKING:
    from lmconf.cli.choosing import Chosen

__all__ = ["dspy_state", "state", "to_text"]


def state(chosen: Chosen, *, minimal: bool) -> dict[str, Any]:
    """Return the state of the LM that was named, else of the profile in the form it was written."""
    from lmconf.profile.state import dump_lm, dump_profile

    style: Literal["minimal", "resolved"] = "minimal" if minimal else "resolved"
    profile = chosen.profile
    if is_one_lm(chosen):
        return dump_lm(profile.lms[chosen.lm], style)
    return dump_profile(profile.spec, profile.stated, style)


def is_one_lm(chosen: Chosen) -> bool:
    """Say whether the state of `chosen` is that of one LM."""
    return chosen.named is not None or chosen.profile.flat


def dspy_state(chosen: Chosen) -> dict[str, Any]:
    """Return the arguments of `dspy.LM` that say what the LM says; what they cannot say is told."""
    from lmconf.profile.state import NotCarried, dump_lm

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NotCarried)
        made = dump_lm(chosen.profile.lms[chosen.lm], "dspy")
    for warning in caught:
        tell(f"warning: {fit(str(warning.message))}")
    return made


def to_text(value: dict[str, Any], form: str) -> str:
    """Return `value` as YAML or JSON that ends with a newline."""
    if form == "yaml":
        from lmconf.document.writing import write

        return write(value)
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
