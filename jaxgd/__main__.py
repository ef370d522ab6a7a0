"""`python -m jaxgd`: the command `jaxgd` where it is not installed as one."""

import sys

from jaxgd.cli.__main__ import main

sys.exit(main())
