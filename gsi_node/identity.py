"""Fingerprints: a digest of what determines the numbers, and after it, by name, digests of its parts.

    9f86d081884c7d65…+tokenizer:2c26b46b68ffc68f+prompt:fcde2b2edba56bf4

Two that differ show by their names in what. And the version of the sampling law, by which unfinished runs are told.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from hashlib import blake2b
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple
from uuid import uuid4

from gsi_node.errors import ResumeMismatch

SAMPLING_LAW = 2
"""What checkpoints and run folders hold of the law that their steps were drawn from, beside its settings. 1, of which
they hold nothing: a step ended at one token that contains a blank line, not where tokens together write one."""

_PART = re.compile(r"\+[a-z]+:[0-9a-f]{16}(?![0-9a-f])")
_LATEST = re.compile(r"\+conversation:[0-9a-f]{16}(?![0-9a-f])")
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_WORDED = (bytearray, range, Fraction, Decimal, Enum, date, time, timedelta, PurePath)
"""Their repr tells them whole, in every process."""
_DEEPEST = 6


def fingerprint_of(first: str, parts: Mapping[str, object]) -> str:
    """`first`, and a digest of the repr of each part behind its name."""
    return first + "".join(
        f"+{name}:{blake2b(repr(part).encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"
        for name, part in parts.items()
    )


def check_sampling_law(kept: object, what: str, mend: str) -> None:
    """Refuse to go on with what another version of the sampling law began. Raises ResumeMismatch."""
    if kept != SAMPLING_LAW:
        was = ", where a step ended at one token that contains a blank line" if kept == 1 else ""
        raise ResumeMismatch(
            f"{what} was begun under version {kept} of the sampling law{was}; this gsi_node draws under version "
            f"{SAMPLING_LAW}: {mend}"
        )


def same_fingerprint(kept: object, here: object) -> bool:
    """Whether a kept fingerprint is that of the model here, or was before its parts or the latest of them were told."""
    return kept == here or (isinstance(here, str) and kept in (_PART.sub("", here), _LATEST.sub("", here)))


def differing_parts(kept: object, here: object) -> str:
    """ ", which differ in prompt" and the like, of two fingerprints that name their parts; "" where none is told."""
    if not isinstance(kept, str) or not isinstance(here, str) or not _PART.search(kept):
        return ""
    there, mine = ({part.partition(":")[0]: part for part in _PART.findall(text)} for text in (kept, here))
    names = [name[1:] for name in mine if there.get(name) != mine[name]]
    return f", which differ in {' and '.join(names)}" if names and _PART.sub("", kept) == _PART.sub("", here) else ""


class Mismatch(NamedTuple):
    """A setting with two values. name: dotted, such as config.beta; an absent value counts as None."""

    name: str
    there: object
    here: object

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.there)} there, {_short(self.here)} here{self.parts}"

    @property
    def parts(self) -> str:
        """In which parts two fingerprints differ, where they tell."""
        return differing_parts(self.there, self.here)


def differing(there: Mapping[str, object], here: Mapping[str, object], above: str = "") -> list[Mismatch]:
    """The leaves of two records of records that are not the same, by name.

    A fingerprint without the names of its parts is that of the same model's with them.
    """
    found: list[Mismatch] = []
    for key in sorted({*there, *here}):
        one, other = there.get(key), here.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += differing(one, other, f"{above}{key}.")
        elif not same_fingerprint(one, other):
            found.append(Mismatch(above + key, one, other))
    return found


def _short(value: object) -> str:
    told = repr(value)
    return told if len(told) <= 60 else told[:57] + "…"


def own_fingerprint(thing: object) -> str:
    """A digest of an object's class (gsi_node's own bases apart) and of what it holds that is plain. Where it holds
    anything else, or the class has no source, "+instance:…" makes it equal to no other object, in any process."""
    sources = [_source(kind) for kind in type(thing).__mro__[:-1] if not kind.__module__.startswith("gsi_node.")]
    untold = ["a class without source"] if None in sources else []
    content = repr((type(thing).__qualname__, sources, described(_held(thing), untold=untold)))
    first = (
        f"{type(thing).__qualname__}:{blake2b(content.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"
    )
    return fingerprint_of(first, {"instance": uuid4()}) if untold else first


def described(value: object, depth: int = 0, untold: list[str] | None = None) -> object:
    """What tells a function from another: its source and what it holds, that is defaults, enclosed and global values.

    Of functions, methods, partials and callable objects all that is plain (numbers, texts, patterns, lists, arrays,
    dataclasses, further functions of the same module …); of anything else the type's name alone, which is added to
    `untold`. The same in every process.
    """
    if isinstance(value, _PLAIN):
        return value
    name = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, _WORDED):
        return name, repr(value)
    if isinstance(value, re.Pattern):
        return name, value.pattern, value.flags
    untold = [] if untold is None else untold
    if depth > _DEEPEST:
        untold.append(name)
        return name
    deeper: Callable[[object], object] = partial(described, depth=depth + 1, untold=untold)
    if isinstance(value, list | tuple):
        return name, [deeper(item) for item in value]
    if isinstance(value, set | frozenset):
        return name, sorted(repr(deeper(item)) for item in value)
    if isinstance(value, Mapping):
        return name, sorted(repr((deeper(key), deeper(item))) for key, item in value.items())
    if isinstance(value, partial):
        return "partial", deeper(value.func), deeper(value.args), deeper(value.keywords)
    if isinstance(value, MethodType):
        return "method", deeper(value.__func__), deeper(value.__self__)
    if isinstance(value, FunctionType):
        return _function(value, deeper)
    if isinstance(value, type | ModuleType):
        return value.__name__, _source(value) if isinstance(value, type) else None
    if _is_array(value):
        array: Any = value
        return name, str(array.dtype), array.shape, blake2b(array.tobytes()).hexdigest()
    if callable(value):
        return name, _source(type(value)), deeper(_held(value))
    if is_dataclass(value):
        return name, deeper({field.name: getattr(value, field.name, None) for field in fields(value)})
    if isinstance(value, SimpleNamespace):
        return name, deeper(vars(value))
    untold.append(name)
    return name


def _is_array(value: object) -> bool:
    """An array or number of numpy whose bytes are its content; those of objects are addresses."""
    return hasattr(value, "tobytes") and getattr(getattr(value, "dtype", None), "hasobject", True) is False


def _held(value: object) -> dict[str, object]:
    """The attributes of an object, in its dictionary or in the slots of its classes."""
    slots = [vars(kind).get("__slots__", ()) for kind in type(value).__mro__]
    names = [name for given in slots for name in ((given,) if isinstance(given, str) else given)]
    return {name: getattr(value, name) for name in names if hasattr(value, name)} | dict(getattr(value, "__dict__", {}))


def _function(fn: FunctionType, deeper: Callable[[object], object]) -> object:
    code = fn.__code__
    held = []
    for cell in fn.__closure__ or ():
        try:
            held.append(deeper(cell.cell_contents))
        except ValueError:  # not filled yet: a function that names itself
            held.append("empty")
    read = [fn.__globals__.get(name) for name in sorted(_names(code))]
    ours = [deeper(value) for value in read if _told(value, fn.__module__)]
    consts = [const for const in code.co_consts if isinstance(const, _PLAIN)] if fn.__name__ == "<lambda>" else []
    return fn.__module__, fn.__qualname__, _source(fn), consts, deeper([fn.__defaults__, fn.__kwdefaults__]), held, ours


def _names(code: CodeType) -> set[str]:
    """The names that a function, and those within it, may read from its module."""
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _told(value: object, module: str) -> bool:
    """Whether a global value is described: plain ones, and functions of the same module."""
    if isinstance(value, FunctionType | type):
        return value.__module__ == module
    if isinstance(value, (*_PLAIN, *_WORDED, re.Pattern, list, tuple, set, frozenset, dict)) or _is_array(value):
        return value is not None
    return is_dataclass(value)


def _source(value: Any) -> str | None:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        return None if code is None else repr((code.co_code, code.co_names))
