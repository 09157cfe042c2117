"""The main job, end to end, with a real language model and no key.

The profile `demo` is validated, shown and called; its state is dumped to a file, loaded from it,
and the same question is answered again, this time from the cache.

    make demo            (or: python examples/demo.py)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import lmconf

QUESTION = "What is the capital of Japan?"


def command(*words: str) -> None:
    """Run one `lmconf` command and show it as a person would type it."""
    shown = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"\n$ lmconf {shown}", flush=True)
    subprocess.run([sys.executable, "-m", "lmconf", *words], check=True)


def in_code(folder: Path) -> None:
    """Load the profile by name, ask, dump its state, load the state, and ask again."""
    saved = folder / "answerer.yaml"

    with lmconf.load("demo") as profile:
        first = profile.lm.ask(QUESTION, cache=False)
        profile.lm.ask(QUESTION)
        lmconf.dump(profile.lm, saved)

    with lmconf.load(saved) as again:
        second = again.lm.ask(QUESTION)
        same = again.lm.spec == profile.lm.spec

    print(f"\n>>> lmconf.load('demo').lm.ask({QUESTION!r})")
    print(f"{first.text!r}   served by {first.model}, from the cache: {first.cache_hit}")
    print(f"\n>>> lmconf.dump(…, {saved.name!r}); lmconf.load({saved.name!r}).lm.ask(…)")
    print(f"{second.text!r}   same spec: {same}, from the cache: {second.cache_hit}")
    if not (same and second.cache_hit and second.text == first.text):
        raise SystemExit("the state that was loaded does not answer as the one that was dumped")


def main() -> None:
    command("validate", "demo")
    command("show", "demo")
    command("call", "demo", QUESTION)
    with tempfile.TemporaryDirectory() as folder:
        in_code(Path(folder))


if __name__ == "__main__":
    main()
