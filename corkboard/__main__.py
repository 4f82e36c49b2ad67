"""`python -m corkboard` is the `corkboard` command."""

from corkboard.cli import main

main()
