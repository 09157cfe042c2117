"""Stands in for torchvision, which SGLang imports also where it serves nothing but text."""

from stand_in import __getattr__, take_the_place_of  # type: ignore[import-not-found]

__all__ = ["__getattr__"]
__version__ = "0.28.0"

take_the_place_of(__name__)
