"""Run ``python -m imder.cli``, the same as ``imder``."""

import sys

from imder.cli.entry import main

sys.exit(main())
