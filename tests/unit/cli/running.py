"""A profile to run the command line on, and what a run comes to."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

SUPPORT = """\
vars:
  tier: mini
stores:
  disk: {backend: disk, path: answers}
defaults:
  temperature: 0.2
  cache: {store: disk, ttl: 7d}
main: gpt
lms:
  gpt:
    model: "openai/{{ 'gpt-4o' if vars.tier == 'full' else 'gpt-4o-mini' }}"
  think: {model: openai/o3-mini}
  claude: {model: anthropic/claude-3-opus-20240229, api_key: {$env: ACME_KEY}}
  grader: {extends: claude, max_tokens: 200}
"""


class Ran(NamedTuple):
    """What one run of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Lmconf = Callable[..., Ran]
