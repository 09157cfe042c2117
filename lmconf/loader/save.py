"""Writing states as documents, to text and to files."""

from __future__ import annotations

import os
from pathlib import Path

from lmconf.document.yaml.writer import write
from lmconf.errors import UsageError
from lmconf.loader.profile import Profile
from lmconf.runtime import LM
from lmconf.spec.state import Style
from lmconf.system.files import write_atomically
from lmconf.system.tracebacks import hide_frames

__all__ = ["dump", "dumps"]


@hide_frames
def dumps(what: LM | Profile, format: Style = "resolved") -> str:
    """Return the state of an LM or a profile as a YAML document.

    Args:
        what: the LM or profile.
        format: `resolved` has every value that has an effect, `minimal` only what was stated.

    Raises:
        UsageError: `what` is neither.
    """
    if not isinstance(what, LM | Profile):
        raise UsageError(f"lmconf.dump takes an LM or a profile, not {type(what).__name__}")
    return write(what.dump_state(format))


@hide_frames
def dump(what: LM | Profile, path: str | os.PathLike[str], format: Style = "resolved") -> None:
    """Write the state of an LM or a profile to `path`, as a YAML document.

    The write is atomic: a reader sees the old content or the new, and a failure leaves the old.

    Args:
        what: the LM or profile.
        path: the file to write or replace.
        format: `resolved` has every value that has an effect, `minimal` only what was stated.

    Raises:
        OSError: the file cannot be written.
        UsageError: `what` is neither.
    """
    write_atomically(Path(path), dumps(what, format))
