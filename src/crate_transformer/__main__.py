"""``python -m crate_transformer``: the command ``crate`` where it is not on the path."""

import sys

from crate_transformer.cli import main

sys.exit(main())
