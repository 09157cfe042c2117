"""lmconf: language models declared in YAML, run from Python."""

__version__ = "0.1.0"
