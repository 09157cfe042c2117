"""From names, files and states to live LMs, and back to files."""

from lmconf.loading.live import Profile
from lmconf.loading.opening import ProfileWarning, lm, load, load_state
from lmconf.loading.saving import dump, dumps

__all__ = ["Profile", "ProfileWarning", "dump", "dumps", "lm", "load", "load_state"]
