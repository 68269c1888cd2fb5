"""Run ``python -m imder.cli``, the same as ``imder``."""

import sys

from imder.cli import main

sys.exit(main())
