r"""Answers as text: one spelling for what is typeset in many, and the pieces of a list, tuple, interval or union.

Everything here is linear (or nearly) in the length of its input, and never evaluates anything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from evals.graders import wording

_SIGNS = str.maketrans(
    dict.fromkeys("−–‐‑‒﹣－", "-")
    | {"×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/", "⁄": "/", "∕": "/", "∞": r"\infty "}
    | {"≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ", "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "±": r"\pm "}
    | {"∪": r"\cup ", "∈": r"\in ", "√": r"\sqrt ", "∛": r"\sqrt[3]", "∅": r"\emptyset ", "º": "°", "˚": "°", "′": "'"}
    | {
        "⌊": r"\lfloor ",
        "⌋": r"\rfloor ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
        "，": ",",
        "＄": r"\$",
        "￥": "¥",
        "￡": "£",
    }
    | dict.fromkeys("\u00a0\u2009\u202f\u2007\t\n\r", " ")
)
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
        "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
_COMMANDED = re.compile(f"[{''.join(_GREEK)}]")
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")
_WIDE = re.compile("[！-～]")
_FONTS = re.compile(
    r"\\(?:mathbf|textbf|textit|boldsymbol|bm|emph|mathit|underline|boxed|fbox|textsf|mathsf|texttt|bf|it|bold)(?![a-zA-Z])"
)
_CURRENCY = "£€¥₹¢＄"
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|\\q?quad(?![a-zA-Z])|~")
_THOUSANDS = re.compile(r"(?<=[0-9])(?:,\\! *|\{,\}|\\,|\\ )(?=[0-9]{3}(?![0-9]))")
_SPACED = re.compile(r"(?<![0-9.,/])(?<![0-9.,/] )([0-9]{1,3})((?: [0-9]{3})+)(?![0-9/])")
_SIZES = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![a-zA-Z])\.?|(?<!\\)\\[!()\[\]]"
)
_FRACTIONS = re.compile(r"\\[dtc](frac|binom)(?![a-zA-Z])")
_SYNONYMS = (
    (re.compile(r"\\(?:leqslant|leqq|leq)(?![a-zA-Z])|<="), r"\\le "),
    (re.compile(r"\\(?:geqslant|geqq|geq)(?![a-zA-Z])|>="), r"\\ge "),
    (re.compile(r"\\(?:neq)(?![a-zA-Z])|!="), r"\\ne "),
    (re.compile(r"\\lt(?![a-zA-Z])"), "<"),
    (re.compile(r"\\gt(?![a-zA-Z])"), ">"),
    (re.compile(r"\\lbrace(?![a-zA-Z])"), r"\\{"),
    (re.compile(r"\\rbrace(?![a-zA-Z])"), r"\\}"),
    (re.compile(r"\\(?:varnothing)(?![a-zA-Z])"), r"\\emptyset "),
    (re.compile(r"\\cdotp?(?![a-zA-Z])"), r"\\cdot "),
    (re.compile(r"\\inf(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\\AA(?![a-zA-Z])"), "Å"),
    (re.compile(r"\\(?:mathbf|mathrm|operatorname) ?\{ ?T ?\}|\\(?:intercal|top)(?![a-zA-Z])"), "T"),
    (re.compile(r"\\langle(?![a-zA-Z])"), "("),
    (re.compile(r"\\rangle(?![a-zA-Z])"), ")"),
)
_DEGREES = re.compile(r"(?:\{\})?\^ ?(?:\{ ?\\(?:circ|degree) ?\}|\\(?:circ|degree)(?![a-zA-Z]))|\\degree(?![a-zA-Z])")
_REPEATING = re.compile(
    r"(?<![0-9.])([0-9]{0,60})\.([0-9]{0,60})\\(?:overline|bar|dot) ?(?:\{([0-9]{1,60})\}|([0-9]))"
    r"(?:([0-9]{0,60})\\dot ?(?:\{([0-9])\}|([0-9])))?"
)
_STATED = re.compile(r"\\(?:text|mathrm|mbox) ?\{ ?([-+]?[＄£€]?[0-9][0-9.,/]*+) ?([^{}]*)\}")
_SAID = r"(?:the )?(?:final |correct )?(?:answer|result|value|solution)(?: is|:| =)"
_ABOUT = re.compile(
    rf"\\(?:approx|simeq|sim)(?![a-zA-Z])|(?:approximately|about|roughly|approx\.?) "
    rf"|{_SAID} |\\text ?\{{ ?{_SAID} ?\}}",
    re.IGNORECASE,
)
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textrm|textnormal|operatorname|rm) ?\{([^{}]*)\}")
_APPROXIMATE = re.compile(r"\\(?:approx|simeq|equiv)(?![a-zA-Z])|:=|==")
_NAME = re.compile(
    r"(?:[A-Za-z]+|\\(?!pi|infty)[a-zA-Z]+|\\text ?\{[^{}]*\})(?: ?_ ?(?:[0-9A-Za-z]|\{[^{}]*\}))?'* ?"
    r"(?:\( ?[A-Za-z0-9](?: ?, ?[A-Za-z0-9])* ?\))?"
)
_OPEN, _CLOSE = "([{", ")]}"


def unprintable(text: str) -> bool:
    """Whether a text holds control characters, lone surrogates or private characters: no answer has them."""
    return any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") and char not in "\t\n\r" for char in text)


def normal(text: str) -> str:
    r"""The text in one spelling, without math delimiters, sizes, fonts and thin spaces.

    "$\dfrac{1}{2}.$" → "\frac{1}{2}", "11,\! 111" → "11111", "90^\circ" → "90°", "½" → "\frac{1}{2}",
    "5 m²" → "5 m^{2}", "0.1\overline{6}" → "\frac{15}{90}", "\approx 3.14" → "3.14". A space between two
    digits stays, for it carries meaning, but where it only groups thousands.
    """
    text = "".join(char for char in text if unicodedata.category(char) != "Cf").translate(_SIGNS)
    text = _WIDE.sub(lambda match: chr(ord(match[0]) - 0xFEE0), text)
    text = _VULGAR.sub(_vulgar, _RAISED.sub(_power, _LOWERED.sub(_index, text)))
    text = _COMMANDED.sub(lambda match: f"\\{_GREEK[match[0]]} ", text)
    text = _dollars(_THOUSANDS.sub("", text).replace("**", "" if text.startswith("**") else "^"))
    text = _FRACTIONS.sub(r"\\\1", _SPACES.sub(" ", _SIZES.sub(" ", text))).replace("np.arcsin", r"\arcsin ")
    for pattern, name in _SYNONYMS:
        text = pattern.sub(name, text)
    text = wording.bare(_DEGREES.sub("°", text.replace(r"\%", "%")))
    text = _REPEATING.sub(_repeating, text)
    text = " ".join(opened(text, _FONTS).split()).rstrip("\\").strip("`* ")
    text = text[:-1].rstrip() if text.endswith((".", ",", ";", ":")) else text
    stated = _STATED.fullmatch(text)
    if stated:  # \text{18} is 18, \text{18 cm} is 18\text{ cm}
        text = stated[1] + (rf"\text{{ {stated[2]}}}" if stated[2].strip() else "")
    about = _ABOUT.match(text)
    text = text[about.end() :].strip() if about else text
    return _SPACED.sub(lambda match: match[1] + match[2].replace(" ", ""), text)


def _dollars(text: str) -> str:
    r"""Math's dollars taken away, and money's ("\$5", or a "$" alone at the start) put as one character."""
    text = text.replace(r"\$", "＄")
    if text.count("$") % 2 and re.match(r"-?\$ ?[0-9.]", text):
        text = text.replace("$", "＄", 1)
    return text.replace("$", "")


def _vulgar(match: re.Match[str]) -> str:
    top, _, low = unicodedata.normalize("NFKC", match[0]).partition("⁄")
    before = match.string[: match.start()][-1:]
    return rf"{' ' if before.isdigit() else ''}\frac{{{top}}}{{{low}}}"


def _power(match: re.Match[str]) -> str:
    return f"^{{{unicodedata.normalize('NFKC', match[0]).replace('−', '-')}}}"


def _index(match: re.Match[str]) -> str:
    return f"_{{{unicodedata.normalize('NFKC', match[0])}}}"


def _repeating(match: re.Match[str]) -> str:
    whole, fixed, period = match[1] or "0", match[2], match[3] or match[4]
    if match[6] or match[7]:  # 0.\dot{1}4285\dot{7}
        period += (match[5] or "") + (match[6] or match[7])
    shift = 10 ** len(fixed)
    top = int(whole + fixed + period) - int(whole + fixed)
    rest = (match[5] or "") if not (match[6] or match[7]) else ""
    return rf"\frac{{{top}}}{{{shift * (10 ** len(period) - 1)}}}{rest}"


def opened(text: str, commands: re.Pattern[str]) -> str:
    r"""The text with every `\command{…}` put as its content, and `\command` alone left out."""
    if not commands.search(text):
        return text
    kept: list[str] = []
    braces: list[bool] = []  # of each open brace, whether it belongs to a command that is left out
    position = 0
    while position < len(text):
        match = commands.match(text, position) if text[position] == "\\" else None
        if match:
            position = match.end()
            after = position + (text[position : position + 1] == " ")
            if text[after : after + 1] == "{":
                braces.append(True)
                position = after + 1
            continue
        char = text[position]
        escaped = char == "\\" and position + 1 < len(text)
        if char == "{":
            braces.append(False)
        if char == "}" and braces and braces.pop():
            char = ""
        kept.append(text[position : position + 2] if escaped else char)
        position += 2 if escaped else 1
    return "".join(kept)


def squeezed(text: str) -> str:
    """A normal text without the spaces that mean nothing and without braces around single characters.

    Equal ones are typeset alike. A space between two digits, or two letters of a word, stays.
    """
    tight = re.sub(r"(?<![0-9]) | (?![0-9])", "", text)
    return re.sub(r"\{([0-9A-Za-z])\}", r"\1", tight)


def words(text: str) -> str | None:
    r"""What \text{…} says where the whole answer is that: casefolded, without brackets. None for anything else."""
    match = _TEXT.fullmatch(text.strip())
    return None if match is None else bare(match.group(1))


def bare(text: str) -> str:
    r"""A text as plain words: \text{…} opened, casefolded, no brackets or end marks around it."""
    return " ".join(_TEXT.sub(r" \1 ", text).casefold().split()).strip("().:;,!? ")


def sides(text: str) -> list[str]:
    """The sides of an equation, or of a chain of them: cut at the equals signs outside all brackets."""
    return split(_APPROXIMATE.sub("=", text), "=")


def value(text: str) -> str:
    """The side of an equation that is the value: "x = 5" → "5", "9 * 2 = 18" → "18", "5 = x" → "5".

    The text itself where there is none, and for an equation brought to the form "2x + y = 0".
    """
    first, *rest = sides(text)
    if not rest:
        return text
    last = rest[-1]
    if last == "0" and re.search("[A-Za-z]", first) and named(text) is None:
        return text
    return first if len(rest) == 1 and _NAME.fullmatch(last) and first and not _NAME.fullmatch(first) else last


def named(text: str) -> tuple[str, str] | None:
    """(name, value) of "x = 5", "5 = x", "f(x) = 2x" or "a_{1} = 3"; None where no single name stands on a side."""
    first, *rest = sides(text)
    if not rest:
        return None
    last = rest[-1]
    if _NAME.fullmatch(first):
        return first, last
    return (last, first) if len(rest) == 1 and first and _NAME.fullmatch(last) else None


def split(text: str, separator: str) -> list[str]:
    """The text cut at `separator` outside all brackets; unbalanced brackets cut nothing after them."""
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        char = text[index]
        if depth == 0 and text.startswith(separator, index):
            parts.append(text[start:index].strip())
            index += len(separator)
            start = index
            continue
        if char == "\\" and index + 1 < len(text) and text[index + 1] not in "{}":
            index += 2
            continue
        depth = max(depth + (char in _OPEN) - (char in _CLOSE), 0)
        index += 1
    return [*parts, text[start:].strip()]


def bracketed(text: str) -> tuple[str, str, str] | None:
    r"""(opening, content, closing) of a text that is one bracket from end to end, "(3, 4]" or "\{1, 2\}"; else None."""
    text = text.strip()
    for opening, closings in ((r"\{", (r"\}",)), ("(", (")", "]")), ("[", (")", "]"))):
        if not text.startswith(opening):
            continue
        depth = 0
        for index, char in enumerate(text):
            depth += (char in _OPEN) - (char in _CLOSE)
            if depth == 0 and index:
                found = next((end for end in closings if text.endswith(end) and index == len(text) - 1), None)
                inside = text[len(opening) : len(text) - len(found)].strip() if found else ""
                return (opening, inside, found) if found else None
    return None


def signs(text: str) -> Iterator[str]:
    r"""Both readings of a text with one \pm, the plus first; the text itself where there is none or several."""
    if len(re.findall(r"\\pm(?![a-zA-Z])", text)) == 1:
        for sign in "+-":
            yield re.sub(r"\\pm(?![a-zA-Z])", sign, text).strip()
    else:
        yield text
