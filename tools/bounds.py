"""What a check that counts things prints, and when it fails."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

__all__ = ["report_counts"]


def report_counts(
    measure: Callable[[], Mapping[str, Sequence[str]]],
    bounds: Mapping[str, int],
    description: str | None,
    arguments: list[str] | None = None,
) -> int:
    """Print how many there are of each thing, and return the exit code.

    Args:
        measure: returns the names of what is counted, by the thing that is counted.
        bounds: how many there may be of each.
        description: what `--help` says.
        arguments: the command line's. `--check` prints what exceeds its bound alone, and makes the
            exit code 1 then; `--list` names everything.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="print nothing that is within bounds")
    parser.add_argument("--list", action="store_true", help="name everything that is counted")
    options = parser.parse_args(arguments)
    status = 0
    for what, names in measure().items():
        exceeds = len(names) > bounds[what]
        status |= exceeds
        if exceeds or not options.check:
            print(f"{what}: {len(names)} (at most {bounds[what]})")
        if exceeds or options.list:
            print("".join(f"  {name}\n" for name in names), end="")
    return status
