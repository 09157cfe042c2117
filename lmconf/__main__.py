"""`python -m lmconf` is the command `lmconf`."""

from lmconf.cli import main

main()
