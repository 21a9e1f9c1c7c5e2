"""`python -m service` and the command `projectkeys`: the same."""

import sys

from service.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
