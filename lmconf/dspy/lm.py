"""`AdaptedLM`: the `dspy.LM` over an LM of lmconf, in the form that the installed DSPy wants.

This is the one place that tells releases apart. From 3.4 on DSPy has engines and typed requests
(`dspy.lm15`); a subclass that implements `forward` is deprecated there and refused from 3.5 on.
3.3 has nothing else than `forward`.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("dspy.lm15") is not None:
    from lmconf.dspy.with_engine import AdaptedLM
else:
    from lmconf.dspy.with_forward import AdaptedLM

__all__ = ["AdaptedLM"]
