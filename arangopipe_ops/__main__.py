"""`python -m arangopipe_ops` is the command `arangopipe`."""

import sys

from arangopipe_ops.cli import main

if __name__ == "__main__":
    sys.exit(main())
