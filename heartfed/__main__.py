"""`python -m heartfed`: the command `heartfed`."""

import sys

from heartfed.cli import main

if __name__ == "__main__":
    sys.exit(main())
