"""Why a server ended, read from its last words."""

from __future__ import annotations

import re

__all__ = ["PORT_TAKEN", "explain_exit"]

PORT_TAKEN = re.compile(
    r"address already in use|EADDRINUSE|only one usage of each socket address"
    r"|couldn't bind HTTP server socket",
    re.IGNORECASE,
)

_REASONS = (
    (
        re.compile(
            r"out of memory|OutOfMemoryError|cannot allocate memory|std::bad_alloc|MemoryError\b"
            r"|failed to allocate|unable to allocate|No available memory for the cache blocks"
            r"|Not enough memory",
            re.IGNORECASE,
        ),
        "it found too little memory for its model and settings",
    ),
    (PORT_TAKEN, "its port is taken: choose another, or 0 for a free one"),
    (
        re.compile(
            r"data is not within the file bounds|gguf_init_from_\w+: failed|Error while deserializing"
            r" header|IncompleteMetadata|MetadataIncompleteBuffer|invalid magic number"
        ),
        "the file of its model is cut short or damaged",
    ),
    (
        re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'"),
        "its Python lacks the module {0}: install it there, or set another `python`",
    ),
    (
        re.compile(
            r"is not a local folder and is not a valid model identifier"
            r"|Repository Not Found|RepositoryNotFoundError|GatedRepoError|HFValidationError"
            r"|does not appear to have a file named|couldn't connect to 'https://huggingface"
            r"|LocalEntryNotFoundError|Can't load the configuration of",
            re.IGNORECASE,
        ),
        "it cannot load that model: `weights` names a folder, a file or a model it can fetch",
    ),
    (
        re.compile(r"unrecognized arguments?: (\S+)|No such option:? (\S+)"),
        "it does not know {0}: this version of the server may be older or newer",
    ),
    (
        re.compile(r"torch not compiled with CUDA|No CUDA GPUs are available|CUDA driver version"),
        "it found no GPU that it can use",
    ),
)


_EXCEPTION = re.compile(r"\b((?:\w+\.)*\w*(?:Error|Exception): [^\n]{1,300})")
_ELSEWHERE = re.compile(r"root cause above|\bsee (?:the )?(?:log|stack trace)", re.IGNORECASE)


def explain_exit(log: str, *, was_killed: bool = False) -> str:
    """Return what the end of a server's `log` says of its end, as half a sentence; else nothing.

    That is the reason, where it is known, or else the last exception of Python that is told.

    `was_killed` says that signal 9 ended it, which nobody here sent.
    """
    for pattern, reason in _REASONS:
        match = pattern.search(log)
        if match:
            return reason.format(next((group for group in match.groups() if group), ""))
    # A server may kill itself when one of its processes fails, and that one tells why.
    exceptions = [line for line in _EXCEPTION.findall(log) if not _ELSEWHERE.search(line)]
    if exceptions:
        return str(exceptions[-1]).strip()
    if was_killed:
        return "signal 9 is what the system sends when memory runs out"
    return ""
