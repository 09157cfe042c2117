"""Saved programs of DSPy: their LMs are found again by name, in a profile."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lmconf
from lmconf.dspy.lm import AdaptedLM
from lmconf.dspy.lm_state import STATE, steering_of
from lmconf.errors import UsageError
from lmconf.loader.profile import Profile
from lmconf.runtime import LM

__all__ = ["load_program"]


def load_program(
    program: Any,
    path: str | os.PathLike[str],
    profile: str | os.PathLike[str] | Mapping[str, Any] | Profile | LM,
) -> Any:
    """Do what `lmconf.dspy.load` says."""
    file = Path(path)
    if file.suffix != ".json":
        raise UsageError(f"a program's state is a .json file, not {file.name}")
    state = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(state, dict):
        raise UsageError(f"{file.name} does not contain the state of a program")
    records = _records(state)
    source = profile if isinstance(profile, Profile | LM) else lmconf.load(profile)
    # Before the program changes: either everything fits, or nothing has happened.
    by_record: dict[str, Any] = {}
    by_predictor: dict[str, Any] = {}
    for name, record in records.items():
        key = json.dumps([record.get("lm"), record.get("settings")])
        if key not in by_record:
            by_record[key] = AdaptedLM.over(_find_lm(record, source), steering_of(record))
        by_predictor[name] = by_record[key]
    with tempfile.TemporaryDirectory(prefix="lmconf-dspy-") as folder:
        state_file = Path(folder, file.name)
        state_file.write_text(json.dumps(state), encoding="utf-8")
        program.load(state_file)
    for name, predictor in program.named_parameters():
        if name in by_predictor:
            predictor.lm = by_predictor[name]
    return program


def _records(state: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what is said of each predictor's LM, taken out of `state`.

    Where the program is a predictor by itself, DSPy names it `self` and writes it flat.
    """
    predictors = {"self": state} if "signature" in state and "demos" in state else state
    records: dict[str, Mapping[str, Any]] = {}
    for name, predictor in predictors.items():
        lm = predictor.get("lm") if isinstance(predictor, dict) else None
        record = lm.get(STATE) if isinstance(lm, Mapping) else None
        if isinstance(record, Mapping):
            records[name] = record
            predictor["lm"] = None
    return records


def _find_lm(record: Mapping[str, Any], source: Profile | LM) -> LM:
    """Return the LM that `record` names.

    Raises:
        ProfileError: the profile has none of that name.
        UsageError: the saved LM was another than the one of that name.
    """
    if isinstance(source, LM):
        return source
    whole = str(record.get("lm"))
    if others := record.get("laid_over"):
        raise UsageError(
            f"the program was saved with `{whole}` and another {', '.join(map(str, others))}:"
            " give that LM a name of its own in the profile, or pass it in place of the profile"
        )
    name = whole if whole in source else whole.rpartition(":")[2]
    if name not in source and len(source) == 1 and whole in (source.name, source.lm.spec.model):
        return source.lm
    return source[name]
