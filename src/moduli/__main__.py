"""`python -m moduli` is the command `moduli`."""

from moduli.cli.main import main

main()
