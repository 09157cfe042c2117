"""YAML text in and out, with the place of every value."""
