"""lmconf's LMs inside DSPy: `dspy.configure(lm=lm.as_dspy())`.

DSPy is imported when one of these functions is first called, and comes with the extra `dspy`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmconf.system.optional import require
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from lmconf.loader.profile import Profile
    from lmconf.runtime import LM

__all__ = ["adapt", "infer_adapter", "load"]


@hide_frames
def adapt(lm: LM, **settings: Any) -> Any:
    """Return `lm` as a `dspy.LM`, for `dspy.configure(lm=…)` and wherever else DSPy wants one.

    What it answers, keeps and retries is this LM's alone: DSPy's own cache and retries stay off.

    Args:
        lm: the LM that is asked.
        settings: `callbacks`, a list of DSPy's callbacks; `supports_function_calling`,
            `supports_response_schema` and `supports_reasoning`, what the model can do where
            DSPy's own tables do not know it; any other is a setting, as in `lm.copy(…)`.

    Raises:
        MissingDependency: DSPy is not installed.
        ProfileError: the settings do not fit.
    """
    _require()
    from lmconf.dspy.lm import AdaptedLM

    return AdaptedLM.over(lm, settings)


def infer_adapter() -> Any:
    """Return the adapter that is set in DSPy, else a `dspy.ChatAdapter`.

    Raises:
        MissingDependency: DSPy is not installed.
    """
    _require()
    import dspy

    return dspy.settings.adapter or dspy.ChatAdapter()


def load(
    program: Any,
    path: str | os.PathLike[str],
    profile: str | os.PathLike[str] | Mapping[str, Any] | Profile | LM,
) -> Any:
    """Return `program` with the state that its `save` wrote to `path`, its LMs from `profile`.

    The state names each predictor's LM and what was set beside its profile; the profile says what
    that LM is. No code, address or credential is taken from the file.

    Args:
        program: a DSPy module of the same structure as the saved one; it is changed in place.
        path: a `.json` file that `program.save(path)` wrote.
        profile: where the LMs come from: a profile's name, path or mapping, a `Profile`, or one
            LM for all predictors.

    Raises:
        UsageError: DSPy is not installed, `path` is no JSON file, or an LM of the profile was
            saved with another model or address than the profile's.
        ProfileError: the profile is not valid, or has no LM of a saved name.
    """
    _require()
    from lmconf.dspy.programs import load_program

    return load_program(program, path, profile)


def _require() -> None:
    """See that DSPy can be imported.

    Raises:
        MissingDependency: it is not installed.
    """
    require("dspy", "dspy", "this")
