"""Links of the pages to examples: a code host opens the script, the site its page in the gallery."""

import re

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata


def lead_to_gallery(app: Sphinx, name: str, source: list[str]) -> None:
    """Replace links to ``../examples/plot_NAME.py`` and to the folder."""
    text = re.sub(r"\]\(\.\./examples/(plot_\w+)\.py\)", r"](gallery/\1.rst)", source[0])
    source[0] = text.replace("](../examples)", "](gallery/index.rst)")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Connect to the sources of pages."""
    app.connect("source-read", lead_to_gallery)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
