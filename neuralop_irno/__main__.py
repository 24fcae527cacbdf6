"""``python -m neuralop_irno`` runs ``irno``, for torchrun."""

import sys

from irno_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
