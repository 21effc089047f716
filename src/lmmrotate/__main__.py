"""``python -m lmmrotate``."""

import sys

from lmmrotate.cli.main import main

sys.exit(main())
