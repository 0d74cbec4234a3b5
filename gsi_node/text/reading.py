"""Whatever a broken or hostile model folder makes the libraries raise that read it, as one error of this package."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from gsi_node.errors import BackendUnavailable

# What transformers, tokenizers, safetensors, jinja2 and json were seen to raise on folders that were tampered with.
BROKEN = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,  # also: recursion, out of memory, sizes that do not fit
    SafetensorError,
    StrictDataclassError,
    TypeError,
    ValueError,
    struct.error,
)


@contextmanager
def reading(what: str, hint: str = "") -> Iterator[None]:
    """Raises BackendUnavailable, "`what` cannot be loaded: …", for what goes wrong within."""
    try:
        yield
    except BackendUnavailable:  # an OSError too, which says itself what is amiss
        raise
    except BROKEN as error:
        raise BackendUnavailable(f"{what} cannot be loaded: {first_line(error)}{hint}") from error


def first_line(error: BaseException) -> str:
    """The first line of an error's words, and the next after a colon, at most 300 characters; its type for none."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[: 2 if lines[:1] and lines[0].endswith(":") else 1])
    return said[:300] or type(error).__name__
