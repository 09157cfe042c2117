"""Reading, composing, rendering, checking and compiling a profile of 50 LMs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.timing import Row, in_process
from lmconf.loader.compile import compile_source

HEAD = """\
vars: {tier: mini}
stores:
  disk: {backend: disk}
callbacks:
  audit: {use: jsonl, path: runs/calls.jsonl}
defaults:
  num_retries: 4
  retry: {initial: 0.5s, max: 20s}
  cache: {store: disk, ttl: 7d}
  callbacks: [audit]
main: lm0
lms:
"""
TEMPLATED = "\"openai/{{ 'gpt-4o' if vars.tier == 'full' else 'gpt-4o-mini' }}\""
LM = """\
  lm{number}:
    model: {model}
    api_key: {{$env: OPENAI_API_KEY}}
    temperature: 0.{digit}
    max_tokens: 500
    stop: ["\\n"]
    headers: {{X-Team: {{$env: TEAM, format: "team {{}}"}}}}
    extra: {{top_k: 40}}
    timeout: 60s
"""


def fifty() -> str:
    """Return a profile of 50 LMs, ten of them with a template."""
    lms = (
        LM.format(
            number=number,
            digit=number % 10,
            model=TEMPLATED if number % 5 == 0 else f"openai/gpt-4o-mini-{number}",
        )
        for number in range(50)
    )
    return HEAD + "".join(lms)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fifty.yaml"
        path.write_text(fifty())
        text = path.read_text()

        def compiled() -> None:
            if compile_source(path).profile is None:
                raise RuntimeError("the benchmark's profile is not valid")

        compiled()
        ours, theirs = in_process(
            compiled, lambda: yaml.load(text, yaml.CSafeLoader), rounds=7, calls=3
        )
    assert theirs is not None
    yield Row(
        "50 LMs read to compiled", ours * 1e3, "ms", "yaml.CSafeLoader", theirs * 1e3, "<= 60 ms"
    )
