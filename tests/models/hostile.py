"""Answers that no honest server sends, as bytes on a connection: the campaign's hostile faults."""

from __future__ import annotations

import time
import zlib
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from io import BufferedIOBase, BytesIO
from typing import Any

import numpy as np

from tests.models.generating import encoded

OK = b"HTTP/1.1 200 OK\r\n"
Send = Callable[[BufferedIOBase], None]


@cache
def bomb() -> bytes:
    """64 MiB of spaces in 65 KB of gzip."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(64)) + packer.flush()


def whole(body: bytes | Callable[[], bytes], headers: bytes = b"", status: bytes = b"200 OK") -> Send:
    """An answer of this body; headers end in a line break each."""

    def send(stream: BufferedIOBase) -> None:
        data = body if isinstance(body, bytes) else body()
        stream.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(data), headers, data))

    return send


def plain(data: bytes) -> Send:
    """These bytes."""

    def send(stream: BufferedIOBase) -> None:
        stream.write(data)

    return send


def drip(stream: BufferedIOBase) -> None:
    stream.write(OK + b"Content-Length: 4096\r\n\r\n")
    for _ in range(30):
        stream.write(b" ")
        time.sleep(0.1)


def endless(stream: BufferedIOBase) -> None:
    stream.write(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:  # until the client has enough
        stream.write(b"10000\r\n" + b"[" * 65536 + b"\r\n")


HOSTILE: dict[str, Send] = {
    "trickle": drip,
    "endless": endless,
    "bomb": whole(bomb, b"Content-Encoding: gzip\r\n"),
    "encoded": whole(b"\x0b\x02", b"Content-Encoding: br\r\n"),
    "deep": whole(b'{"choices":' + b"[" * 500_000),
    "digits": whole(b'{"choices": [' + b"1" * 5000 + b"]}"),
    "surrogate": whole(rb'{"choices": ["\ud800"]}'),
    "escape": whole(b'{"error": {"message": "\\u001b[2J\\u001b]0;x\\u0007"}}', status=b"500 \x1b[2J"),
    "chunks": plain(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "head": plain(OK + b"X: " + b"y" * 500_000 + b"\r\n\r\n{}"),
    "204": plain(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "redirect": whole(b"", b"Location: http://127.0.0.1:1/\r\n", b"307 X"),
}


SPOILT = {"positive": 0.5, "nan": float("nan"), "missing": None, "infinite": float("inf"), "boolean": False}


def spoil_ids(answer: dict[str, Any], fault: str) -> None:
    """`spoil`, of numbers by ids."""
    coded = answer["prompt_token_id_logprobs"]
    if coded is None or fault not in (*SPOILT, "few"):
        return
    values = np.load(BytesIO(b64decode(coded)))
    if fault == "few":
        answer["prompt_token_id_logprobs"] = encoded(values[:-1])
    elif fault in ("missing", "boolean"):
        answer["prompt_token_id_logprobs"] = {"missing": 7, "boolean": encoded(values == 0.0)}[fault]
    else:
        values[-1, 0] = SPOILT[fault]
        answer["prompt_token_id_logprobs"] = encoded(values)


def spoil(choices: list[dict[str, Any]], fault: str) -> None:
    """Make the numbers of an answer wrong in one of the scripted ways."""
    if fault == "few":
        choices.pop()
    if fault in SPOILT:
        value = SPOILT[fault]
        choice = choices[-1]
        if choice["prompt_logprobs"]:
            for entry in choice["prompt_logprobs"][-1].values():
                entry["logprob"] = value
        else:
            choice["logprobs"]["token_logprobs"][-1] = value
