"""The page about providers: its hand-written part, and what the records say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from lmconf.providers import Provider
from lmconf.providers.records import RECORDS

__all__ = ["providers_page"]

ROOT = Path(__file__).resolve().parent.parent

_SENDERS = {"bare": "lmconf", None: "LiteLLM's client"}
_ACCOUNTS = {
    "aws": "AWS's credentials",
    "databricks": "or nothing where Databricks' SDK is set up",
    "google": "Google's credentials",
}


def providers_page() -> str:
    """Return the text of the page about providers."""
    text = (ROOT / "tools/providers.md").read_text(encoding="utf-8")
    stated = [record.name for record in RECORDS if record.chat == "bare"]
    foreign = [r.name for r in RECORDS if r.chat is None and r.text is None]
    for mark, table in {
        "profiles": _profiles(),
        "as stated": _names(stated),
        "foreign": _names(sorted(foreign)),
        "providers": _providers(),
    }.items():
        text = text.replace(f"<!-- {mark} -->", table)
    return text


def _profiles() -> str:
    """Return the table of the profiles that ship."""
    rows = []
    for profile in dict.fromkeys(record.profile for record in RECORDS if record.profile):
        records = [record for record in RECORDS if record.profile == profile]
        models = _names(f"{record.name}/…" for record in records)
        rows.append((f"`{profile}`", models, _to_set(records, _variables(profile))))
    own = _names(_variables("openai-compatible"))
    rows.append(("`openai-compatible`", "`openai/…` with an `api_base`", own))
    return _table(("profile", "models", "to set"), rows)


def _variables(profile: str) -> list[str]:
    """Return the variables that the file of a profile names."""
    text = (ROOT / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")
    return re.findall(r"\$env: (\w+)", text)


def _to_set(records: list[Provider], names: list[str]) -> str:
    first = records[0]
    variables = [name for name in (first.base_env, first.key_env) if name is not None]
    needed = _names(dict.fromkeys((*variables, *sorted(names))))
    account = _ACCOUNTS.get(first.cloud or "")
    if first.credentials == "optional":
        return f"nothing, or {needed}"
    if account is None:
        return needed
    return f"{account}, {needed}" if first.credentials == "cloud" else f"{needed}; {account}"


def _providers() -> str:
    """Return the table of every provider."""
    rows = [
        (
            f"[`{record.name}`]({record.docs})" if record.docs else f"`{record.name}`",
            record.base
            or (f"`{record.base_env}`" if record.base_env else _ELSEWHERE[record.cloud]),
            _key(record),
            _sender(record, "chat"),
            _sender(record, "text"),
            "no" if record.responses is None else "lmconf",
        )
        for record in sorted(RECORDS, key=lambda record: record.name)
    ]
    head = ("provider", "address", "key", "chat", "completions", "responses")
    return _table(head, rows)


_ELSEWHERE = {
    None: "`api_base`",
    "aws": "by region",
    "databricks": "by workspace",
    "google": "by location",
}


def _key(record: Provider) -> str:
    """Return how a credential is found."""
    if record.key_env is not None:
        return f"`{record.key_env}`"
    return {"cloud": "the cloud's", "optional": "none is needed"}.get(
        record.credentials, "`api_key`"
    )


def _sender(record: Provider, route: str) -> str:
    """Return who sends a route of a provider."""
    if route == "chat" and record.chat is None and record.text is not None:
        return "no"
    client = record.chat if route == "chat" else record.text
    if client is None and not record.known_to_litellm:
        return "no"
    return _SENDERS.get(client, "LiteLLM")


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
