"""From names, files and states to live LMs, and back to files."""
