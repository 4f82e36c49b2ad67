"""The command line: one file a verb, thin over :class:`corkboard.workspace.Workspace`.

Exit codes: 0 fine, 1 the check failed, 2 the input is wrong (one sentence, no traceback).
"""

from __future__ import annotations

import os
import sys

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread a matrix product unless the environment says otherwise. A page, a replayed moment or a training step is thousands of
small products; a second thread mostly spins at their ends, and takes many times as long where anything else wants its core."""


def main() -> None:
    """Run the command line. Loads nothing heavy: each verb imports what it needs when it is called."""
    for name, count in THREADS.items():
        os.environ.setdefault(name, count)
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
