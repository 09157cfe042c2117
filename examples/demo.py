"""The main job, end to end, with a real language model, no key and no network.

A named profile is validated, shown and called from the shell; then the same LM is loaded in
Python, its state is dumped to a file, and the LM that is loaded from the file gives the same
answer, from the cache.

    make demo            (or: python examples/demo.py)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import lmconf
from lmconf.system.paths import shipped_folder

QUESTION = "What is the capital of Japan?"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lmconf-demo-") as folder:
        # Whatever the demo keeps goes with this folder: answers, logs of servers, states.
        os.environ["LMCONF_CACHE_DIR"] = str(Path(folder, "answers"))
        os.environ["LMCONF_STATE_DIR"] = str(Path(folder, "servers"))
        os.chdir(folder)
        from_the_shell()
        in_code(Path("answerer.yaml"))


def from_the_shell() -> None:
    """Show the profile `demo`, check it beside a broken copy, and ask its LM."""
    profile = (shipped_folder("profiles") / "demo.yaml").read_text(encoding="utf-8")
    lines = [line for line in profile.splitlines() if not line.startswith("#")]

    step("A profile is a small file. This one is called `demo`:")
    print("\n".join(lines))

    step("It is checked before anything runs. A mistake is reported with its place and a fix:")
    Path("misspelt.yaml").write_text("\n".join(lines).replace("max_tokens", "max_token") + "\n")
    command("validate", "demo")
    command("validate", "misspelt.yaml", code=1)

    step("This is the resolved profile, with the origin of each value:")
    command("show", "demo", "--origin")

    step("A real model answers: llama.cpp's own server is started, asked and ended.")
    command("call", "demo", QUESTION, "--verbose")


def in_code(state: Path) -> None:
    """Load the profile by name, ask, dump the LM's state, and ask the LM that loads from it."""
    step("The same in Python. An equal request is answered from the cache:")
    with lmconf.load("demo") as profile:
        lm = profile.lm
        show("lm = lmconf.load('demo').lm")
        first = ask(lm, QUESTION)
        ask(lm, "What is 3 + 4?")
        server = lm.server

    step("Its state is a profile too. Loading it gives an equal LM with the same answers:")
    lmconf.dump(lm, state)
    show(f"lmconf.dump(lm, {state.name!r})")
    with lmconf.load(state) as copy:
        show(f"same = lmconf.load({state.name!r}).lm")
        show("same.spec == lm.spec", copy.lm.spec == lm.spec)
        again = ask(copy.lm, QUESTION, name="same")

    alike = copy.lm.spec == lm.spec and again.text == first.text
    if not (alike and first.cache_hit and again.cache_hit):
        raise SystemExit("the state that was loaded does not answer as the one that was dumped")
    if server is None or server.status() != "stopped":
        raise SystemExit("the server that was started did not end")
    print("\nEvery server that was started has ended. Next: the five minutes in README.md.")


def step(text: str) -> None:
    print(f"\n== {text}\n", flush=True)


def command(*words: str, code: int = 0) -> None:
    """Run one `lmconf` command, shown as a person would type it; it must exit with `code`."""
    text = " ".join(f'"{word}"' if " " in word else word for word in words)
    print(f"$ lmconf {text}", flush=True)
    ran = subprocess.run([sys.executable, "-m", "lmconf", *words], check=False)
    if ran.returncode != code:
        raise SystemExit(f"lmconf {text} exited with {ran.returncode}, not {code}")


def ask(lm: lmconf.LM, question: str, name: str = "lm") -> lmconf.Answer:
    answer = lm.ask(question)
    show(f"answer = {name}.ask({question!r})")
    show("answer.text, answer.cache_hit", (answer.text, answer.cache_hit))
    return answer


def show(source: str, *value: object) -> None:
    """Show an expression and its value, as in a Python session."""
    print(f">>> {source}")
    for each in value:
        print(repr(each))


if __name__ == "__main__":
    main()
