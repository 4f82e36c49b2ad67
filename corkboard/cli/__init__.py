"""The command line: one file a verb, thin over :class:`corkboard.workspace.Workspace`.

Exit codes: 0 fine, 1 the check failed, 2 the input is wrong (one sentence, no traceback).
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line. Loads nothing heavy: each verb imports what it needs when it is called."""
    from corkboard.cli.app import app
    from corkboard.errors import CorkboardError, InputError

    try:
        app()
    except InputError as error:
        print(f"corkboard: {error}", file=sys.stderr)
        sys.exit(2)
    except CorkboardError as error:
        print(f"corkboard: {error}", file=sys.stderr)
        sys.exit(1)
