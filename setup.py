"""Sets the project's description for PyPI; all other metadata is in pyproject.toml."""

import re
from pathlib import Path

from setuptools import setup

DOCUMENTATION = "https://docs.airbyte.com/integrations/sources/ravan-calcom"


def description() -> str:
    """Return README.md without relative links, which don't work on PyPI.

    Links to the documentation get its address, other links become plain text, and pictures are removed.
    """
    text = Path("README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n*|<img [^>]*src=\"(?!https?:)[^>]*>\n*", "", text)
    text = text.replace("](docs/ravan-calcom.md", f"]({DOCUMENTATION}")
    text = re.sub(r"\[([^]]+)\]\((?!https?:|#)[^)]*\)", r"\1", text)
    return f"{text}\nThe files named here are in the source distribution.\n"


setup(long_description=description(), long_description_content_type="text/markdown")
