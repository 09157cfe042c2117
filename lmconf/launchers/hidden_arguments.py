"""Runs a module with arguments that no list of processes shows.

Started by its path with the module's name; the arguments come as a JSON list on standard input.
What the module starts by `multiprocessing` imports this file again, as a module that does nothing.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path


def main() -> None:
    """Run the module that the only argument names."""
    module = sys.argv[1]
    arguments = json.load(sys.stdin)
    sys.argv = [module, *arguments]
    # Its own folder, which comes first unless PYTHONSAFEPATH is heeded, has files that shadow
    # modules of the same name.
    sys.path[:] = [each for each in sys.path if Path(each) != Path(__file__).parent]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
