"""Families of models with rules of their own: what they take, and what is sent where nothing is said.

Three sources, in this order: the families here, known by their names; LiteLLM's table of models,
read as data; and for what neither knows, the ordinary rules. A default that a family's servers
refuse is left out, or takes the name that they know. Names are matched without what providers put
around them: paths, `us.anthropic.`, `databricks-`, `ft:…:org::id`, `:nitro`, `@date`, `-v1:0`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmconf.providers.catalogue import provider_of, record_of

__all__ = [
    "DECIDING",
    "EFFORTS",
    "FAMILIES",
    "Family",
    "default_of",
    "efforts_refused",
    "family_of",
    "takes_any_temperature",
    "thinking_budget",
    "wire_max_tokens",
]

Data = Mapping[str, Any]

_WITH_THOUGHTS = 16_000
"""The most tokens of an answer whose thoughts count as a part of it."""


class Family(Struct, frozen=True):
    """The rules of one family.

    `pattern` is matched against the start of the model's own name. `temperatures` are the values
    that it accepts beside null (None: any). Unset fields take `temperature` and `max_tokens`; a
    `temperature` of None is left out. Fewer tokens than `token_floor` may all go into thinking.
    `claude` families follow the rules of Anthropic's thinking, and with `one_of_two` take either a
    temperature or `top_p`. `source` says where the rules come from.
    """

    name: str
    pattern: str
    temperature: float | None
    max_tokens: int
    temperatures: tuple[float, ...] | None = None
    token_floor: int = 1
    tokens_field: str = "max_tokens"
    claude: bool = False
    one_of_two: bool = False
    source: str = ""


_ORDINARY = Family("ordinary", "", temperature=0.0, max_tokens=1000)

_OPENAI = "OpenAI, `Reasoning models`"

# OpenAI's reasoning models accept only the default temperature, take the answer's length as
# `max_completion_tokens`, and spend part of it on thinking (OpenAI API reference, "Reasoning
# models"; the floor of 5,000 tokens is that of `dspy.LM`).
_REASONING = Family(
    "openai-reasoning",
    r"(o[134](-mini)?(-pro|-preview|-deep-research)?"
    r"|gpt-5(\.\d+)?(-mini|-nano|-pro|-codex(-mini|-max)?)?)"
    r"(-\d{4}-\d{2}-\d{2})?$",
    temperature=1.0,
    max_tokens=_WITH_THOUGHTS,
    temperatures=(1.0,),
    token_floor=5_000,
    tokens_field="max_completion_tokens",
    source=_OPENAI,
)
# Those that came later, and those that are still to come, are sent no temperature at all. The
# older names above keep the 1.0 under which their answers are kept in caches.
_NEWER = replace(
    _REASONING,
    name="openai-reasoning-newer",
    # `gpt-35` is Azure's name of GPT-3.5.
    pattern=r"(o[13-9](-mini|-nano)?(-pro|-preview|-deep-research)?(-\d{4}-\d{2}-\d{2})?$"
    r"|gpt-([5-9]|[12]\d)([.-]\d{1,2})?(-|$)|codex-mini|chat-latest|gpt-chat-latest)",
    temperature=None,
)
# The API's models that search the web take no sampling settings, and call their limit as others do.
_SEARCHING = Family(
    "openai-search",
    r"gpt-4o(-mini)?-search",
    temperature=None,
    max_tokens=1000,
    temperatures=(),
    source="OpenAI, `Create chat completion`",
)
# Moonshot's own API; other hosts of the same models take any temperature.
_KIMI = Family(
    "kimi-reasoning",
    r"kimi-(k2\.[5-9]|k[3-9])",
    temperature=None,
    max_tokens=1000,
    temperatures=(1.0,),
    source="LiteLLM's adapter for Moonshot",
)

_CLAUDE = replace(_ORDINARY, name="claude", claude=True, source="Anthropic, `Extended thinking`")
_CLAUDE_FROM_4_1 = replace(_CLAUDE, one_of_two=True)
# Which model an alias such as `claude-opus-latest` leads to is not known, nor what it refuses.
_CLAUDE_WITHOUT_VERSION = replace(_CLAUDE_FROM_4_1, name="claude-alias", temperature=None)
_CLAUDE_WITHOUT_SAMPLING = Family(
    "claude-adaptive",
    "",
    temperature=None,
    # Newer ones think unless they are told not to.
    max_tokens=_WITH_THOUGHTS,
    temperatures=(1.0,),
    claude=True,
    one_of_two=True,
    source="Anthropic, `Migrating to Claude Opus 4.7`",
)

FAMILIES: tuple[Family, ...] = (
    # The chat-tuned sibling of the first of a reasoning family follows the ordinary rules.
    Family("gpt-5-chat", r"gpt-5-chat", temperature=0.0, max_tokens=1000),
    _REASONING,
    _NEWER,
    _SEARCHING,
)

_AROUND = re.compile(r"((?:[a-z]{2,6}(?:-gov)?|global)\.)?(openai|anthropic|databricks)[.-]")
_OPEN_WEIGHTS = re.compile(r"gpt-oss")
_CLAUDE_NAME = re.compile(
    r"claude-(?:(?P<major>\d{1,2})(?:[.-](?P<minor>\d{1,2}))?(?!\d)-)?(?P<kind>[a-z]+)"
    r"(?:-(?P<after>\d{1,2})(?:[.-](?P<then>\d{1,2}))?(?!\d))?"
)
_WITHOUT_VERSION = {"instant": (1, 0), "v": (2, 0), "fable": (5, 0), "mythos": (5, 0)}
# Their rules are those of the ordinary models: the table need not be read for them.
_WELL_KNOWN = re.compile(r"gpt-(3|4)|text-|davinci|babbage|chatgpt-4o|o2|gpt-oss|llama|gemini-[12]")


@functools.lru_cache(maxsize=1024)
def family_of(model: str, base_model: str | None = None) -> Family:
    """Return the family of `base_model` if it is named, else of `model`."""
    full = base_model or model
    last = full.rpartition("/")[2].lower()
    # Names of today's caches are matched as they stand, then without what stands around them.
    for name, families in ((last, FAMILIES[:2]), (_bare(last), (FAMILIES[0], *FAMILIES[2:]))):
        for family in families:
            if re.match(family.pattern, name) and not _OPEN_WEIGHTS.match(name):
                return family
    claude = _claude(last)
    if claude is not None:
        return claude
    if full.startswith("moonshot/") and re.match(_KIMI.pattern, last):
        return _KIMI
    # Of the rest, the table knows what names do not tell.
    row = None if _WELL_KNOWN.match(last) else _row(full)
    return _ORDINARY if row is None else _by_table(row)


def wire_max_tokens(model: str, base_model: str | None = None) -> str:
    """Return the name under which `max_tokens` is sent for this model."""
    return family_of(model, base_model).tokens_field


DECIDING = frozenset(("top_p", "thinking", "reasoning_effort", "extra"))
"""Settings on which the defaults of a family depend."""


def default_of(family: Family, name: str, data: Data) -> float | int | None:
    """Return what is sent for `name`, which nobody stated, beside what `data` states."""
    budget = thinking_budget(data) if family.claude else None
    if name == "temperature":
        beside = family.one_of_two and _body_value(data, "top_p") is not None
        return None if budget is not None or beside else family.temperature
    extra = data.get("extra")
    others = {"max_tokens", "max_completion_tokens"} - {family.tokens_field}
    if isinstance(extra, Mapping) and others & extra.keys():
        return None  # the limit is stated under another name, and servers take one alone
    if budget is None:
        return family.max_tokens
    # The thinking counts as part of the answer, and must be fewer than it may have in all.
    return max(_WITH_THOUGHTS, budget + _ORDINARY.max_tokens)


# What LiteLLM makes of an effort for a Claude that takes budgets alone.
_BUDGETS = {"minimal": 128, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192}
_MOST_THOUGHT = 16_384


def thinking_budget(data: Data) -> int | None:
    """Return how many tokens `data` lets a Claude think, 0 for as many as it likes.

    None: it asks for no thinking.
    """
    thinking = _body_value(data, "thinking")
    if isinstance(thinking, Mapping):
        budget = thinking.get("budget_tokens")
        if thinking.get("type") == "disabled":
            return None
        return budget if isinstance(budget, int) and not isinstance(budget, bool) else 0
    reasoning = _body_value(data, "reasoning")  # OpenRouter's own form of it
    effort = _body_value(data, "reasoning_effort")
    if isinstance(reasoning, Mapping):
        budget = reasoning.get("max_tokens")
        if isinstance(budget, int) and not isinstance(budget, bool):
            return budget
        effort = reasoning.get("effort", "medium")
    if not isinstance(effort, str) or effort in ("none", "default"):
        return None
    return _BUDGETS.get(effort, _MOST_THOUGHT)


def takes_any_temperature(family: Family, data: Data) -> bool:
    """Say whether nobody knows of a temperature that the model of `data` refuses.

    OpenAI's models from GPT-5.1 on take any where they do not think: with the effort `none`,
    stated or, as LiteLLM's table tells, their own default (OpenAI, "Using GPT-5.1").
    """
    model, base = str(data["model"]), data.get("base_model")
    full = base if isinstance(base, str) else model
    if family.temperatures is None:
        return True
    if family.tokens_field != "max_completion_tokens":
        return False
    name = _bare(full.rpartition("/")[2].lower())
    if re.match(r"o\d|codex|gpt-5(-|$)(?!\d{1,2}(-|$))", name):
        return False  # they always think
    row = _row(full)
    if row is None:
        return not re.match(r"gpt-5", name) or _body_value(data, "reasoning_effort") in (
            None,
            "none",
        )
    if False in (row.get("supports_none_reasoning_effort"), row.get("supports_sampling_params")):
        return False
    effort = _body_value(data, "reasoning_effort")
    if effort in (None, "default"):
        effort = row.get("default_reasoning_effort", "none")
    return bool(effort == "none")


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max", "default")
"""The words that models have for how long they think."""


def efforts_refused(model: str, base_model: str | None = None) -> frozenset[str]:
    """Return the reasoning efforts that LiteLLM's table says the model does not know."""
    row = _row(base_model or model)
    if row is None:
        return frozenset()
    listed = row.get("reasoning_effort_levels")
    if isinstance(listed, list):
        return frozenset(EFFORTS) - frozenset(map(str, listed)) - {"default"}
    return frozenset(
        level for level in EFFORTS if row.get(f"supports_{level}_reasoning_effort") is False
    )


def _bare(name: str) -> str:
    """Return the last part of a model's name without what providers and owners add to it."""
    name = name.removeprefix("ft:")
    name = re.split(r"[:@]", name, maxsplit=1)[0]
    around = _AROUND.match(name)
    return name[around.end() :] if around else name


def _claude(name: str) -> Family | None:
    """Return the family of a Claude, which its version decides; None where it is none."""
    if "claude" not in name:
        return None
    found = _CLAUDE_NAME.search(name)
    if found is None:
        return _CLAUDE
    before, after = found["major"], found["after"]
    if before is not None:
        version = (int(before), int(found["minor"] or 0))
    elif after is not None:
        version = (int(after), int(found["then"] or 0))
    elif found["kind"] in _WITHOUT_VERSION:
        version = _WITHOUT_VERSION[found["kind"]]
    else:
        return _CLAUDE_WITHOUT_VERSION
    if version >= (4, 7):
        return _CLAUDE_WITHOUT_SAMPLING
    return _CLAUDE_FROM_4_1 if version >= (4, 1) else _CLAUDE


def _by_table(row: Data) -> Family:
    """Return the family that LiteLLM's table tells of."""
    thinks = row.get("supports_reasoning") is True
    if row.get("supports_sampling_params") is False:
        return replace(
            _ORDINARY,
            name="without-sampling",
            temperature=None,
            max_tokens=_WITH_THOUGHTS if thinks else _ORDINARY.max_tokens,
            temperatures=(1.0,),
            source="LiteLLM's table of models",
        )
    family = _ORDINARY
    if thinks and row.get("litellm_provider") in ("openai", "azure"):
        family = _NEWER
    most = row.get("max_output_tokens")
    if isinstance(most, int) and 0 < most < family.max_tokens:
        floor = min(most, family.token_floor)
        return replace(family, name="short", max_tokens=most, token_floor=floor)
    return family


def _row(model: str) -> Data | None:
    """Return what LiteLLM's table says of a model, by its name there or the model's own."""
    provider, name = provider_of(model)
    if record_of(provider).credentials == "optional":
        return None  # what a server of one's own takes, it says itself
    from lmconf.providers.model_table import model_row  # read where it is asked alone

    last = name.rpartition("/")[2]
    return model_row(model, name, last, re.split(r"[:@]", last.removeprefix("ft:"), maxsplit=1)[0])


def _body_value(data: Data, name: str) -> Any:
    """Return what the body of a request made from `data` says of `name`."""
    extra = data.get("extra")
    if isinstance(extra, Mapping) and name in extra:
        return extra[name]
    return data.get(name)
