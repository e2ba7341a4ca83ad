"""``python -m crate_transformer.cli``."""

import sys

from crate_transformer.cli import main

sys.exit(main())
