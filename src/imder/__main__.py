"""`python -m imder`."""

import sys

from imder.cli import main

sys.exit(main())
