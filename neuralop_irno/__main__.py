"""``python -m neuralop_irno`` is ``irno``; torchrun starts it this way."""

import sys

from irno_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
