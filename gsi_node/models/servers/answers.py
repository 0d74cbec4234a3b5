"""What a server sent, read within bounds: how many bytes, which encodings, and how its words reach an error.

Whatever a body holds, `read_json` ends in a value or in Illegible. It may take seconds for megabytes, so it runs in a
thread, and the GIL changes hands within it: numbers are read by Python functions.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from email.utils import parsedate_to_datetime
from typing import Any

BASE = 1 << 20  # bytes of an answer beside what was asked for
ENTRY = 256  # bytes of one listed number, its name and its token's text
WORDS = 1 << 16  # bytes of an answer that is only looked through for words
_GZIP, _DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
_ENCODINGS = {"": None, "identity": None, "gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}
ACCEPTED = "gzip, deflate"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class Illegible(Exception):
    """This answer cannot be used; says why in words of ours."""


def read_json(body: bytes, encoding: str, most: int) -> Any:
    """The value in a JSON body of that Content-Encoding. Raises Illegible: compressed otherwise, beyond `most` bytes
    when decompressed, no JSON, nested too deep, a number or text that Python cannot hold."""
    text = _decompressed(body, encoding, most)
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_real)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise Illegible("the answer is nested too deep") from None
    except UnicodeEncodeError:
        raise Illegible("the answer holds half of a character (a lone surrogate)") from None
    except ValueError:
        raise Illegible("the answer is no JSON, or cut off") from None
    return value


def _decompressed(body: bytes, encoding: str, most: int) -> bytes:
    encoding = encoding.strip().lower()
    if encoding not in _ENCODINGS:
        raise Illegible(f"the answer is encoded as {encoding[:40]!r}, which was not asked for ({ACCEPTED})")
    window = _ENCODINGS[encoding]
    if window is None:
        return body
    if window == _DEFLATE and body[:1] != b"x":
        window = -zlib.MAX_WBITS  # raw, as some servers send it
    inflate = zlib.decompressobj(window)
    try:
        text = inflate.decompress(body, most + 1)
    except zlib.error:
        raise Illegible(f"the answer is no {encoding}, though it says so") from None
    if len(text) > most:
        raise Illegible(
            f"the answer has more than {most:,} bytes when decompressed, where what was asked for takes fewer"
        )
    if not inflate.eof:
        raise Illegible("the compressed answer is cut off")
    return text


def _integer(digits: str) -> int:
    return int(digits)


def _real(digits: str) -> float:
    return float(digits)


def message(body: bytes, encoding: str) -> str:
    """What an OpenAI-shaped error says; "" where the body is none."""
    try:
        return words_of(read_json(body, encoding, WORDS))
    except Illegible:
        return ""


def words_of(said: Any) -> str:
    """`message` of what was read."""
    for name in ("error", "message"):
        said = said.get(name, said) if isinstance(said, dict) else said
    return said if isinstance(said, str) else ""


def shown(text: str, key: str = "", most: int = 200) -> str:
    """A server's words as they may stand in an error or a log: on one line, without control characters and without the
    key, in at most `most` characters and an ellipsis."""
    if key:
        written = "|".join(map(re.escape, {key, repr(key)[1:-1], json.dumps(key)[1:-1]}))
        text = re.sub(written if len(key) >= 8 else rf"(?<!\w)(?:{written})(?!\w)", "[key]", text)
    line = " ".join(text[: 4 * most].split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
    return safe if len(safe) <= most and len(text) <= 4 * most else safe[:most] + "…"


def retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header (a number or an HTTP date); 0 where there is none to read."""
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
