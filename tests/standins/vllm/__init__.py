"""Stands in for the package, which is too large for this suite."""
