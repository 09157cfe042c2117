"""Mistakes in documents as data, how they are shown, and what was probably meant."""
