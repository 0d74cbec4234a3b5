"""What a built site would fetch from the network; `make docs` (`python -m tests.docs.offline FOLDER`) fails on it.

A link that a reader may follow is none of it; a script, a style, a font, a picture is.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

LOADS = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
_IN_STYLE = re.compile(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\"')\s]+)", re.IGNORECASE)
_FAR = re.compile(r"(?:^|,)\s*((?:https?:)?//\S+)", re.IGNORECASE)
_IN_SCRIPT = re.compile(r"(?:\bfrom|\bimport\s*\(?|\bfetch\s*\()\s*[\"'`]((?:https?:)?//[^\"'`]+)")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.far: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        for name, value in attrs:
            if name in LOADS.get(tag, ()):
                self.far += _FAR.findall(value or "")
            elif name == "style":
                self.far += _IN_STYLE.findall(value or "")

    def handle_data(self, data: str) -> None:
        self.far += {"style": _IN_STYLE, "script": _IN_SCRIPT}.get(self._inside, re.compile(r"(?!)")).findall(data)


def far(name: str, text: str) -> list[str]:
    """The addresses elsewhere that a file of a site, of this name, loads by itself."""
    if name.endswith((".html", ".svg")):
        page = _Page()
        page.feed(text)
        return page.far
    pattern = {".css": _IN_STYLE, ".js": _IN_SCRIPT}.get(Path(name).suffix)
    return pattern.findall(text) if pattern else []


def main(folder: Path) -> int:
    """1 where a file of the site loads from elsewhere, or where there is no site."""
    files = [path for path in folder.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg")]
    found = [f"{path}: {one}" for path in files for one in far(path.name, path.read_text("utf-8"))]
    pages = sum(path.suffix == ".html" for path in files)
    sys.stdout.write("".join(f"{line}\n" for line in found))
    sys.stdout.write(f"{pages} pages, {len(found)} loads from elsewhere\n")
    return 1 if found or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
