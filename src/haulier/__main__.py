"""`python -m haulier` is the command line."""

import sys

from haulier.cli import main

sys.exit(main())
