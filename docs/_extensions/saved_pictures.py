"""Pictures that an example has saved under ``reports/``, for its page in the gallery."""

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst


def scrape(block: Any, variables: dict[str, Any], gallery: dict[str, Any]) -> str:
    """Move the pictures that a block has saved to the gallery, and return the lines that show them.

    Args:
        block: the block of code.
        variables: those of the example; of them the iterator over paths of pictures.
        gallery: the options of the gallery.
    """
    moved = []
    for saved in sorted(Path("reports").rglob("*.png")):
        shown = next(variables["image_path_iterator"])
        shutil.move(saved, shown)
        moved.append(shown)
    return figure_rst(moved, gallery["src_dir"])
