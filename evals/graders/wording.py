r"""What people write around an answer: colours, ordinals, sentences, "for all x", and decimals that go on in dots.

Every function takes a text that notation.normal is about to put in one spelling, and returns it without the wording.
"""

from __future__ import annotations

import re

_TEXT = r"\\(?:text|mathrm|mbox|textrm|textnormal)"
_COLOURED = re.compile(r"\\(?:text)?color ?\{[a-zA-Z!0-9]*\}|\\color\[[a-zA-Z]*\] ?\{[^{}]*\}")
_UNSEEN = re.compile(r"\\(?:[hv]?phantom|[hv]space\*?|tag\*?|label) ?\{[^{}]*\}")
_SIGN = re.compile(_TEXT + r" ?\{ ?([＄%°¢€£¥]) ?\}")
_ORDINAL = re.compile(r"(?<=[0-9]) ?\^ ?\{ ?(?:\\(?:text|mathrm|textrm|rm) ?\{? ?)?(st|nd|rd|th) ?\}(?: ?\})?")
_MICRO = re.compile(_TEXT + r" ?\{ ?\\mu ?|\\mu ?" + _TEXT + r" ?\{ ?")
_EVERY = re.compile(
    r"[,;]? ?(?:\(? ?\\forall(?![a-zA-Z])|(?:"
    + _TEXT
    + r" ?\{ ?)?[,(]? ?(?:for|where) (?:all|any|every|each)(?![a-zA-Z]))"
)
_DOTTED = re.compile(r"(?<![0-9.,])([0-9]{0,60})\.([0-9]{3,60}) ?(?:\\[lc]?dots(?![a-zA-Z])|\.{2,3}|…)")
_SENTENCE = re.compile(
    _TEXT + r" ?\{ ?((?:[A-Za-z']{1,20} ){1,5}?(?:is|are|was|were|equals|costs|has|have)) ?(\}|(?<= ))"
)
_DENYING = frozenset(
    "not no nor never neither none least most than over under between or if unless false wrong incorrect".split()
)


def bare(text: str) -> str:
    """The text without colours, invisible boxes, "for all x" and the words of a sentence before the answer."""
    text = _UNSEEN.sub(" ", _COLOURED.sub(" ", text))
    text = _MICRO.sub(r"\\text{u", _SIGN.sub(r"\1", text))
    text = _ORDINAL.sub(r"\\text{ \1}", text)
    every = _EVERY.search(text)
    if every and text[: every.start()].strip():
        text = text[: every.start()]
    return _DOTTED.sub(_repeated, _sentence(text))


def _sentence(text: str) -> str:
    r""" "\text{Ann is } 9" → "9", "\text{Ann is 9 years old}" → "\text{9 years old}"; denied, it stays."""
    match = _SENTENCE.match(text)
    if match is None or not _DENYING.isdisjoint(match[1].casefold().split()):
        return text
    rest = text[match.end() :]
    return rest.strip() if match[2] else text[: match.start(1)] + rest


def _repeated(match: re.Match[str]) -> str:
    r"""0.1666… → 0.1\overline{6}: the last digit where it stands three times, else the last digits if written twice."""
    digits = match[2]
    for size in range(1, len(digits) // 2 + 1):
        times = 3 if size == 1 else 2
        if digits.endswith(digits[-size:] * times):
            fixed = digits[: len(digits) - times * size]
            return rf"{match[1]}.{fixed}\overline{{{digits[-size:]}}}"
    return match[0]
