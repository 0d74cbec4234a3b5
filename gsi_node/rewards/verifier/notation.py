"""Text to tokens: plain, Unicode and simple LaTeX notation of arithmetic, in time linear in the length.

Whatever is not understood becomes an `unknown` token, next to which nothing is checked. Prose becomes `word` tokens,
the ends of sentences, list items and cells `stop`, the ends of lines `line`.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from gsi_node.rewards.verifier.arithmetic import MAX_DIGITS, Lexeme

_GLYPHS = str.maketrans(
    {"×": "*", "·": "*", "∙": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-", "–": "-", "‐": "-"}
    | {"²": "^2", "³": "^3", "≦": "≤", "≧": "≥", "≃": "≈", "≅": "≈", "⩽": "≤", "⩾": "≥"}
    | dict.fromkeys("$€£°`&\u200b\u2060\ufeff", "")
)
_CALCULATOR = re.compile(r"<<([^<>\n]{0,200})>>")  # GSM8K's annotations: 3 * 4 = <<3*4=12>>12
_BOLD = re.compile(r"(?<![0-9A-Za-z)\]}*])\*\*(?=[^\s*])([^*\n]{1,200})(?<=\S)\*\*(?![0-9A-Za-z(*])")
_TEXT = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mbox)\s{0,3}\{([^{}\\]{0,200})\}")
_FRACTION = re.compile(
    r"\\[dtc]?frac\s{0,3}(?:\{\s{0,3}([0-9]{1,150})\s{0,3}\}\s{0,3}\{\s{0,3}([0-9]{1,150})\s{0,3}\}|\s?([0-9])\s?([0-9]))"
)
_REPEATING = re.compile(r"\s?\\(?:overline|bar|dot|ldots|cdots|dots)|[({]")  # after the point of 0.\overline{3}
_TOKEN = re.compile(
    r"(?P<line>[\n\r\v\f]|\\\\)"
    r"|(?P<space>[ \t\u00a0\u2009\u202f]+|\\[,;: ]|~(?!=))"
    r"|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
    r"|(?P<augmented>(?:\*\*|//|[-+*/^])=(?!=))"
    r"|(?P<operator>\*\*|[-+*/^])"
    r"|(?P<arrow>[-=]>|<=>|<-)"
    r"|(?P<relation><=|>=|!=|~=|==?|[<>≤≥≠≈])"
    r"|(?P<command>\\(?:(?:left|right)\.|[A-Za-z]+|.))"
    r"|(?P<word>[A-Za-z]+(?:['’][a-z]+)?)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_COMMANDS: dict[str, tuple[str, str]] = (
    dict.fromkeys(("times", "cdot", "ast"), ("operator", "*"))
    | {"div": ("operator", "/"), "%": ("percent", "%"), "{": ("open", "("), "}": ("close", ")")}
    | dict.fromkeys(("le", "leq", "leqslant"), ("relation", "≤"))
    | dict.fromkeys(("ge", "geq", "geqslant"), ("relation", "≥"))
    | dict.fromkeys(("ne", "neq"), ("relation", "≠"))
    | {"lt": ("relation", "<"), "gt": ("relation", ">"), "approx": ("relation", "≈"), "simeq": ("relation", "≈")}
    | {name: ("fraction", name) for name in ("frac", "dfrac", "tfrac", "cfrac")}
    | {name: ("stop", name) for name in ("implies", "Rightarrow", "Longrightarrow", "rightarrow", "to", "therefore")}
    | {name: ("stop", name) for name in ("quad", "qquad", "iff", "because", "item", "begin", "end")}
    | dict.fromkeys(
        ("left", "right", "left.", "right.", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr"),
        ("nothing", ""),
    )
    | dict.fromkeys(("displaystyle", "boxed", "fbox", "!", "(", ")", "[", "]", "-"), ("nothing", ""))
)
_RELATIONS = {"==": "=", "<=": "≤", ">=": "≥", "!=": "≠", "~=": "≈"}
_OTHER: dict[str, tuple[str, str]] = (
    dict.fromkeys("([{", ("open", "(")) | dict.fromkeys(")]}", ("close", ")")) | {"%": ("percent", "%")}
) | {mark: ("stop", mark) for mark in '.,;:?!"“”„—→⇒⇔∴#•|'}  # "|" separates cells of a table
_VERBS = {"times": "*", "plus": "+", "minus": "-", "x": "*", "X": "*"}


def _literal(written: str, gap: bool) -> Lexeme:
    digits = written.replace(",", "")
    if len(digits) > MAX_DIGITS:
        return Lexeme("unknown", "number", gap)
    whole, _, decimals = digits.partition(".")
    zeros = len(whole) - len(whole.rstrip("0")) if whole.strip("0") else 0
    return Lexeme("number", digits, gap, Fraction(digits), -len(decimals) if decimals else zeros)


def _clean(text: str) -> str:
    """The text in one alphabet, without markup; a calculator's annotations stand on lines of their own at the end."""
    text = text.replace("\\$", "").translate(_GLYPHS).replace("{,}", ",").replace(",\\!", ",").replace("\\!", "")
    notes = _CALCULATOR.findall(text)
    text = _TEXT.sub(r" \1 ", _BOLD.sub(r"\1", _CALCULATOR.sub(" ", text)))
    return "\n".join([text, *notes])


def _spell(match: re.Match[str], text: str, gap: bool) -> tuple[str, str]:
    """Kind and canonical text of one match; kinds "nothing" and "fraction" are resolved by `tokens`."""
    kind, piece = str(match.lastgroup), match[0]
    if kind == "command":
        return _COMMANDS.get(piece[1:], ("unknown", piece))
    if kind == "relation":
        return kind, _RELATIONS.get(piece, piece)
    if kind == "operator":
        return kind, "^" if piece == "**" else piece
    if kind == "arrow":
        return "stop", piece
    if kind == "augmented":  # "total -= 5": no relation, and what stands beside it is part of an assignment
        return "unknown", piece
    if kind != "other":
        return kind, piece
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if piece in ",:." and before.isdigit() and after.isdigit():
        return "unknown", piece  # a decimal comma, a ratio, a time, a version
    if piece == "." and ("." in (before, after) or _REPEATING.match(text, match.end())):
        return "unknown", "…"
    if piece in "!|" and not gap:
        return "unknown" if piece == "|" else "stop", piece
    if piece not in _OTHER and unicodedata.category(piece) in ("So", "Pi", "Pf", "Ps", "Pe"):
        return "stop", piece
    return _OTHER.get(piece, ("unknown", piece))


def tokens(text: str) -> list[Lexeme]:
    """The tokens of a text. LaTeX braces become brackets, \\frac{a}{b} becomes ((a)/(b))."""
    text = _clean(text)
    out: list[Lexeme] = []
    braces: list[str] = []  # what each open brace is: a group, a numerator, a denominator
    expected = "group"
    gap = True
    position = 0
    while position < len(text):
        fraction = _FRACTION.match(text, position) if text[position] == "\\" else None
        if fraction is not None:
            top, bottom = (Fraction(int(part)) for part in fraction.groups() if part is not None)
            position = fraction.end()
            if bottom:
                out.append(Lexeme("number", "frac", gap, top / bottom))
            else:
                out += [Lexeme("open", "(", gap), Lexeme("number", "", value=top), Lexeme("operator", "/")]
                out += [Lexeme("number", ""), Lexeme("close", ")")]
            gap = False
            continue
        match = _TOKEN.match(text, position)
        if match is None:
            break
        position = match.end()
        kind, spelled = _spell(match, text, gap)
        if kind == "space":
            gap = True
            continue
        if kind == "nothing":
            continue
        if expected != "group" and match[0] != "{":  # \frac without its braces
            kind, spelled, expected = "unknown", "frac", "group"
        if kind == "fraction":
            out.append(Lexeme("open", "(", gap))
            expected = "numerator"
        elif kind == "number":
            glued = bool(out) and not gap and out[-1].kind == "number"
            out.append(Lexeme("unknown", "number", gap) if glued else _literal(spelled, gap))
        elif match[0] == "{":
            braces.append(expected)
            expected = "group"
            out.append(Lexeme("open", "(", gap))
        elif match[0] == "}":
            role = braces.pop() if braces else "group"
            out.append(Lexeme("close", ")", gap))
            if role == "numerator":
                out.append(Lexeme("operator", "/"))
                expected = "denominator"
            elif role == "denominator":
                out.append(Lexeme("close", ")"))
        else:
            out.append(Lexeme(kind, spelled, gap))  # type: ignore[arg-type]
        gap = kind in ("line", "stop")
    return _phrases(out)


def _phrases(raw: list[Lexeme]) -> list[Lexeme]:
    """Join what is written with several tokens: mixed numbers, verbs between numbers, "% of", "percent"."""
    out: list[Lexeme] = []
    index = 0
    while index < len(raw):
        token = raw[index]
        ahead = raw[index + 1 : index + 4]
        value = _mixed(token, ahead)
        before = out[-1].kind in ("number", "close", "percent") if out else False
        numeric = bool(ahead) and ahead[0].kind in ("number", "open")
        index += 1
        if value is not None:
            out.append(value)
            index += 1 if ahead[0].text == "frac" else 3
        elif token.kind != "word" or not before:
            out.append(token)
        elif token.text.lower() == "percent":
            out.append(Lexeme("percent", "%", token.gap))
        elif token.text in _VERBS and numeric and (len(token.text) > 1 or _times(token, ahead[0])):
            out.append(Lexeme("operator", _VERBS[token.text], token.gap))
        elif token.text in ("divided", "multiplied") and [t.text for t in ahead[:1]] == ["by"]:
            out.append(Lexeme("operator", "/" if token.text == "divided" else "*", token.gap))
            index += 1
        elif token.text == "of" and numeric and (out[-1].kind == "percent" or _is_fraction(out)):
            out.append(Lexeme("operator", "*", token.gap))
        else:
            out.append(token)
    return out


def _times(letter: Lexeme, after: Lexeme) -> bool:
    """Whether an x is a multiplication sign: spaced alike on both sides, and not x(…), a variable or a function."""
    return letter.gap == after.gap and (after.kind == "number" or letter.gap)


def _is_fraction(out: list[Lexeme]) -> bool:
    return out[-1].text == "frac" or (len(out) > 2 and out[-2].text == "/" and out[-1].kind == "number")


def _mixed(token: Lexeme, ahead: list[Lexeme]) -> Lexeme | None:
    """A mixed number: an integer, then a proper fraction, as in 1 1/2 or 2\\frac{1}{3}."""
    if token.kind != "number" or not token.text.isdigit() or not ahead or ahead[0].kind != "number":
        return None
    if ahead[0].text == "frac":
        part = ahead[0].value
        proper = 0 < part < 1
        return Lexeme("number", "mixed", token.gap, token.value + part, product=token.value * part) if proper else None
    if len(ahead) < 3 or not ahead[0].gap or ahead[1].text != "/" or ahead[1].gap or ahead[2].gap:
        return None
    top, bottom = ahead[0], ahead[2]
    if not (top.text.isdigit() and bottom.text.isdigit() and 0 < top.value < bottom.value):
        return None
    return Lexeme("number", "mixed", token.gap, token.value + top.value / bottom.value)
