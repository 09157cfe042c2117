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
    from lmconf.caches import register_cache, unregister_cache
    from lmconf.callbacks import register_callback, unregister_callback
    from lmconf.diagnostics.model import Diagnostic
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
        Error,
        LaunchError,
        MissingDependency,
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
    from lmconf.launchers import register_launcher, unregister_launcher
    from lmconf.loader.api import ProfileWarning, lm, load, load_state
    from lmconf.loader.profile import Profile
    from lmconf.loader.profile_folders import register_profile, unregister_profile
    from lmconf.loader.save import dump, dumps
    from lmconf.providers import Provider, register_provider
    from lmconf.runtime.answer import Answer, TruncatedWarning
    from lmconf.runtime.lm import LM
    from lmconf.runtime.settings import configure, context, settings
    from lmconf.runtime.usage import Usage, track_usage
    from lmconf.secrets.references import Env, File
    from lmconf.spec.keywords import CallSettings, LMSettings
    from lmconf.spec.lm import LMSpec
    from lmconf.spec.profile import ProfileSpec
    from lmconf.trainers import register_trainer, unregister_trainer
    from lmconf.training.job import TrainingJob, job
    from lmconf.transports import register_transport, unregister_transport

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
    "CallSettings": "spec.keywords",
    "Closed": "errors",
    "ConnectionFailed": "errors",
    "ContentPolicy": "errors",
    "ContextWindowExceeded": "errors",
    "Diagnostic": "diagnostics.model",
    "Env": "secrets.references",
    "Error": "errors",
    "File": "secrets.references",
    "LM": "runtime.lm",
    "LMSettings": "spec.keywords",
    "LMSpec": "spec.lm",
    "LaunchError": "errors",
    "MissingDependency": "errors",
    "NotCarriedOut": "errors",
    "NotFound": "errors",
    "NotSent": "errors",
    "PermissionDenied": "errors",
    "Profile": "loader.profile",
    "ProfileError": "errors",
    "ProfileSpec": "spec.profile",
    "ProfileWarning": "loader.api",
    "Provider": "providers",
    "RateLimited": "errors",
    "ServerError": "errors",
    "Timeout": "errors",
    "TrainError": "errors",
    "TrainingJob": "training.job",
    "TruncatedWarning": "runtime.answer",
    "Usage": "runtime.usage",
    "UsageError": "errors",
    "configure": "runtime.settings",
    "context": "runtime.settings",
    "dump": "loader.save",
    "dumps": "loader.save",
    "job": "training.job",
    "lm": "loader.api",
    "load": "loader.api",
    "load_state": "loader.api",
    "register_cache": "caches",
    "register_callback": "callbacks",
    "register_provider": "providers",
    "register_launcher": "launchers",
    "register_profile": "loader.profile_folders",
    "register_trainer": "trainers",
    "register_transport": "transports",
    "settings": "runtime.settings",
    "track_usage": "runtime.usage",
    "unregister_cache": "caches",
    "unregister_callback": "callbacks",
    "unregister_launcher": "launchers",
    "unregister_profile": "loader.profile_folders",
    "unregister_trainer": "trainers",
    "unregister_transport": "transports",
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
    "MissingDependency",
    "NotCarriedOut",
    "NotFound",
    "NotSent",
    "PermissionDenied",
    "Profile",
    "ProfileError",
    "ProfileSpec",
    "ProfileWarning",
    "Provider",
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
    "register_cache",
    "register_callback",
    "register_launcher",
    "register_profile",
    "register_provider",
    "register_trainer",
    "register_transport",
    "settings",
    "track_usage",
    "unregister_cache",
    "unregister_callback",
    "unregister_launcher",
    "unregister_profile",
    "unregister_trainer",
    "unregister_transport",
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
