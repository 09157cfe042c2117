"""Run the benchmarks: `python -m benchmarks [names…] [--save]`.

Every figure stands beside a peer's from the same run; quote the ratio. `--save` keeps the table in
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.timing import Row

NAMES = ("startup", "compiling", "hits", "settings", "stores", "calls")
PEERS = ("litellm", "openai", "dspy", "httpx", "aiohttp", "pyyaml", "msgspec", "jsonschema")
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}")
    lines = [
        "| what | lmconf | peer | its figure | ratio | aim |",
        "| --- | ---: | --- | ---: | ---: | --- |",
    ]
    print("\n".join(lines), flush=True)
    for name in options.names or NAMES:
        for row in import_module(f"benchmarks.{name}").rows():
            lines.append(_line(row))
            print(lines[-1], flush=True)
    if options.save:
        RESULTS.write_text(_page(lines))


def _line(row: Row) -> str:
    theirs = "" if row.theirs is None else f"{row.theirs:.1f} {row.unit}"
    ratio = "" if not row.theirs else f"{row.ours / row.theirs:.2f}"
    return f"| {row.what} | {row.ours:.1f} {row.unit} | {row.peer} | {theirs} | {ratio} | {row.target} |"


def _page(lines: list[str]) -> str:
    here = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    versions = ", ".join(f"{name} {_version(name)}" for name in PEERS if _version(name))
    return (
        "# Last figures\n\nMedians of one run of `make bench ARGS=--save`, ours and the peer's in"
        " turn. Absolute times\nchange with the machine; ratios hold better.\n\n"
        f"{here}; {versions}.\n\n" + "\n".join(lines) + "\n"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    main()
