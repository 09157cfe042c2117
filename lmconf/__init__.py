"""lmconf: language models declared in YAML, checked, compiled and dumped back to YAML.

    import lmconf

    profile = lmconf.load("support")
    profile["gpt"]("Say this is a test!")

Importing this module imports nothing else: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lmconf.callbacks import register_callback
    from lmconf.errors import (
        AuthenticationFailed,
        BadRequest,
        BadResponse,
        BatchFailed,
        BudgetExceeded,
        CallError,
        Cause,
        CircuitOpen,
        Closed,
        ConnectionFailed,
        ContentPolicy,
        ContextWindowExceeded,
        Diagnostic,
        Error,
        LaunchError,
        NotCarriedOut,
        NotFound,
        NotSent,
        PermissionDenied,
        ProfileError,
        RateLimited,
        ServerError,
        Timeout,
        TrainError,
        UsageError,
    )
    from lmconf.loading.live import Profile
    from lmconf.loading.opening import ProfileWarning, lm, load, load_state
    from lmconf.loading.saving import dump, dumps
    from lmconf.profile.document import ProfileSpec
    from lmconf.profile.keywords import CallSettings, LMSettings
    from lmconf.profile.lm import LMSpec
    from lmconf.runtime.answer import Answer, TruncatedWarning
    from lmconf.runtime.lm import LM
    from lmconf.runtime.settings import configure, context, settings
    from lmconf.runtime.training import TrainingJob, job
    from lmconf.runtime.usage import Usage, track_usage
    from lmconf.secrets import Env, File
    from lmconf.trainers import register_trainer
    from lmconf.transports import register_transport

_HOMES: dict[str, str] = {
    "Answer": "runtime.answer",
    "AuthenticationFailed": "errors",
    "BadRequest": "errors",
    "BadResponse": "errors",
    "BatchFailed": "errors",
    "BudgetExceeded": "errors",
    "CallError": "errors",
    "Cause": "errors",
    "CircuitOpen": "errors",
    "CallSettings": "profile.keywords",
    "Closed": "errors",
    "ConnectionFailed": "errors",
    "ContentPolicy": "errors",
    "ContextWindowExceeded": "errors",
    "Diagnostic": "errors",
    "Env": "secrets",
    "Error": "errors",
    "File": "secrets",
    "LM": "runtime.lm",
    "LMSettings": "profile.keywords",
    "LMSpec": "profile.lm",
    "LaunchError": "errors",
    "NotCarriedOut": "errors",
    "NotFound": "errors",
    "NotSent": "errors",
    "PermissionDenied": "errors",
    "Profile": "loading.live",
    "ProfileError": "errors",
    "ProfileSpec": "profile.document",
    "ProfileWarning": "loading.opening",
    "RateLimited": "errors",
    "ServerError": "errors",
    "Timeout": "errors",
    "TrainError": "errors",
    "TrainingJob": "runtime.training",
    "TruncatedWarning": "runtime.answer",
    "Usage": "runtime.usage",
    "UsageError": "errors",
    "configure": "runtime.settings",
    "context": "runtime.settings",
    "dump": "loading.saving",
    "dumps": "loading.saving",
    "job": "runtime.training",
    "lm": "loading.opening",
    "load": "loading.opening",
    "load_state": "loading.opening",
    "register_callback": "callbacks",
    "register_trainer": "trainers",
    "register_transport": "transports",
    "settings": "runtime.settings",
    "track_usage": "runtime.usage",
}

__all__ = [
    "LM",
    "Answer",
    "AuthenticationFailed",
    "BadRequest",
    "BadResponse",
    "BatchFailed",
    "BudgetExceeded",
    "CallError",
    "CallSettings",
    "Cause",
    "CircuitOpen",
    "Closed",
    "ConnectionFailed",
    "ContentPolicy",
    "ContextWindowExceeded",
    "Diagnostic",
    "Env",
    "Error",
    "File",
    "LMSettings",
    "LMSpec",
    "LaunchError",
    "NotCarriedOut",
    "NotFound",
    "NotSent",
    "PermissionDenied",
    "Profile",
    "ProfileError",
    "ProfileSpec",
    "ProfileWarning",
    "RateLimited",
    "ServerError",
    "Timeout",
    "TrainError",
    "TrainingJob",
    "TruncatedWarning",
    "Usage",
    "UsageError",
    "__version__",
    "configure",
    "context",
    "dump",
    "dumps",
    "job",
    "lm",
    "load",
    "load_state",
    "register_callback",
    "register_trainer",
    "register_transport",
    "settings",
    "track_usage",
]


def __getattr__(name: str) -> object:
    if name == "dspy":
        return import_module("lmconf.dspy")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'lmconf' has no attribute {name!r}")
    value: object = getattr(import_module(f"lmconf.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
