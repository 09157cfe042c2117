"""Stands in for SGLang's kernels, which are for GPUs: on a CPU its own PyTorch code computes."""

from stand_in import __getattr__, take_the_place_of  # type: ignore[import-not-found]

__all__ = ["__getattr__"]

take_the_place_of(__name__)
