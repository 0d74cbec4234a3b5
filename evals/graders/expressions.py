r"""Expressions as trees: the LaTeX and plain notation of answers, read in time linear in their length.

    parse(r"\frac{n(n+1)}{2}")   → a product of a number, n and a sum

Every letter is a symbol of its own and keeps its case; i is the imaginary unit, e Euler's number, \log the logarithm to
base 10. Letters side by side are a product, and so is a letter before a bracket, but before a lone letter or number,
x(t), it is a function's value: a symbol. "3 1/2" and "3\frac12" are mixed numbers; two numbers side by side are nothing.
A degree sign is π/180 inside a trigonometric function and no factor elsewhere.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

MAX_DEPTH = 40
MAX_DIGITS = 2000

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth arcsinh arccosh arctanh arsinh arcosh artanh "
    "ln log lg exp floor ceil abs sqrt gcd lcm max min".split()
)
TRIGONOMETRIC = frozenset("sin cos tan cot sec csc".split())
SYMBOLS = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega hbar ell infty nabla "
    "partial emptyset mho odot oplus angle triangle aleph Re Im star prime dagger".split()
)
_ACCENTS = frozenset("dot ddot hat bar overline vec tilde widehat widetilde mathcal mathbb mathfrak overrightarrow".split())
_TEXTS = frozenset("text mathrm mbox textrm textnormal operatorname rm".split())
_NAMES = FUNCTIONS | {"pi", "infinity", "inf"} | (SYMBOLS - {"star", "prime", "Re", "Im", "partial", "angle", "triangle"})
_TOKEN = re.compile(
    r"(?P<space> +)"
    r"|(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4}(?![0-9]))?|\.[0-9]+(?:[eE][+-]?[0-9]{1,4}(?![0-9]))?)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<command>\\(?:[A-Za-z]+|.))"
    r"|(?P<other>.)",
    re.DOTALL,
)


class Node(NamedTuple):
    """A tree. op: "number" (value, decimal), "symbol" (name), or an operation on `args`.

    decimal: of a number, whether it was written with a point or an exponent.
    """

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""
    decimal: bool = False


def number(value: Fraction | int, decimal: bool = False) -> Node:
    """A number as a tree."""
    return Node("number", value=Fraction(value), decimal=decimal)


def symbol(name: str) -> Node:
    """A symbol as a tree."""
    return Node("symbol", name=name)


class Token(NamedTuple):
    """One piece of a text; gap: whether a space stands before it."""

    kind: str
    text: str
    gap: bool


class Unreadable(ValueError):
    """The text is no expression."""


def tokens(text: str) -> list[Token]:
    """The pieces of a normal text; runs of letters that name no function or constant come letter by letter."""
    out: list[Token] = []
    gap = False
    for match in _TOKEN.finditer(text):
        kind, piece = str(match.lastgroup), match[0]
        if kind == "space":
            gap = True
            continue
        if kind == "word":
            for part in _parts(piece):
                out.append(Token("command", "\\" + part, gap) if len(part) > 1 else Token("letter", part, gap))
                gap = False
            continue
        out.append(Token(kind, piece, gap))
        gap = False
    return out


def _parts(run: str) -> list[str]:
    if run in _NAMES:
        return [{"infinity": "infty", "inf": "infty"}.get(run, run)]
    for name in ("arcsin", "arccos", "arctan", "sqrt", "sin", "cos", "tan", "log", "exp", "ln", "pi"):
        if run.startswith(name) and len(run) - len(name) <= 2:
            return [name, *run[len(name) :]]
    return list(run)


def parse(text: str) -> Node:
    """The tree of one expression, without relations. Raises Unreadable."""
    parser = _Parser(tokens(text))
    if not parser.tokens:
        raise Unreadable("the answer is empty")
    tree = parser.sum()
    parser.end()
    return tree


class _Parser:
    def __init__(self, pieces: list[Token]) -> None:
        self.tokens = pieces
        self.at = 0
        self.depth = 0
        self.trigonometric = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else Token("end", "", False)

    def take(self, text: str) -> bool:
        if self.peek().text == text and self.peek().kind != "end":
            self.at += 1
            return True
        return False

    def need(self, text: str) -> None:
        if not self.take(text):
            raise Unreadable(f"{text!r} is missing before {self.peek().text or 'the end'!r}")

    def end(self) -> None:
        if self.peek().kind != "end":
            raise Unreadable(f"{self.peek().text!r} cannot be read there")

    def sum(self) -> Node:
        parts = [self.product()]
        while self.peek().text in ("+", "-"):
            negative = self.peek().text == "-"
            self.at += 1
            part = self.product()
            parts.append(Node("*", (number(-1), part)) if negative else part)
        return parts[0] if len(parts) == 1 else Node("+", tuple(parts))

    def product(self) -> Node:
        parts = [self.signed()]
        while True:
            piece = self.peek()
            if piece.text in ("*", r"\times", r"\cdot", r"\ast"):
                self.at += 1
                parts.append(self.signed())
            elif piece.text in ("/", r"\div", ":"):
                self.at += 1
                parts.append(Node("^", (self.signed(), number(-1))))
            elif self.begins(piece) and not self.side_by_side(piece):
                parts.append(self.power())
            else:
                return parts[0] if len(parts) == 1 else Node("*", tuple(parts))

    def side_by_side(self, piece: Token) -> bool:
        """Whether a number follows a number, or a letter: that is no product."""
        if piece.kind != "number":
            return False
        before = self.tokens[self.at - 1]
        if before.text in (")", "]", "}"):
            return False
        raise Unreadable(f"{piece.text!r} stands beside {before.text!r}")

    def begins(self, piece: Token) -> bool:
        """Whether a factor can begin with this piece."""
        if piece.kind in ("number", "letter"):
            return True
        if piece.kind == "command":
            name = piece.text[1:]
            known = name in FUNCTIONS or name in SYMBOLS or name in _ACCENTS or name in _TEXTS
            return known or name in ("pi", "frac", "binom", "sqrt", "lfloor", "lceil", "sum", "prod", "lvert", "vert", "imath")
        return piece.text in ("(", "[", "{") or (piece.text == "|" and not self.bars)

    def signed(self) -> Node:
        negative = False
        while self.peek().text in ("+", "-"):
            negative ^= self.peek().text == "-"
            self.at += 1
        base = self.power()
        return Node("*", (number(-1), base)) if negative else base

    def power(self) -> Node:
        start = self.at
        base = self.atom()
        base = self.postfix(base)
        if self.peek().text == "^":
            self.at += 1
            if self.take("'") or (self.peek().text == "{" and self.peek(1).text == r"\prime"):
                raise Unreadable("a prime stands behind what is no name")
            base = self.postfix(Node("^", (base, self.exponent())))
        return self.mixed(base, start)

    def mixed(self, base: Node, start: int) -> Node:
        r"""A whole number with a proper fraction behind it, 3 1/2 or 3\frac12, as their sum."""
        literal = self.tokens[start]
        if self.at != start + 1 or literal.kind != "number" or not literal.text.isdigit():
            return base
        if self.peek().text == r"\frac":
            place = self.at
            part = self.atom()
            if part.op == "number" and 0 < part.value < 1:
                return Node("+", (base, part))
            self.at = place
        top, slash, low = self.peek(), self.peek(1), self.peek(2)
        if top.kind == low.kind == "number" and top.gap and slash.text == "/" and top.text.isdigit() and low.text.isdigit():
            if 0 < int(top.text) < int(low.text):
                self.at += 3
                return Node("+", (base, number(Fraction(int(top.text), int(low.text)))))
        return base

    def exponent(self) -> Node:
        if self.peek().text == "{":
            return self.group("{", "}")
        negative = self.peek().text == "-"
        self.at += self.peek().text in ("+", "-")
        base = self.atom()
        if self.take("^"):
            base = Node("^", (base, self.exponent()))
        return Node("*", (number(-1), base)) if negative else base

    def postfix(self, base: Node) -> Node:
        for _ in range(3):
            if self.peek().text == "!" and self.peek(1).text != "=":
                self.at += 1
                base = Node("factorial", (base,))
            elif self.take("%"):
                base = Node("*", (base, number(Fraction(1, 100))))
            elif self.take("°"):
                base = Node("*", (base, Node("pi"), number(Fraction(1, 180)))) if self.trigonometric else base
            else:
                break
        return base

    def group(self, opening: str, *closing: str) -> Node:
        self.need(opening)
        inside = self.sum()
        if self.peek().text not in closing:
            raise Unreadable(f"{closing[0]!r} is missing before {self.peek().text or 'the end'!r}")
        self.at += 1
        return inside

    def atom(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("it is nested too deeply")
        made = self.simple()
        self.depth -= 1
        return made

    def simple(self) -> Node:
        piece = self.peek()
        if piece.kind == "number":
            self.at += 1
            digits = piece.text.replace(",", "").removesuffix(".")
            if len(digits) > MAX_DIGITS:
                raise Unreadable("a number is too long")
            return number(Fraction(digits), any(mark in digits for mark in ".eE"))
        if piece.text in ("(", "["):
            return self.group(piece.text, ")" if piece.text == "(" else "]")
        if piece.text == "{":
            return self.group("{", "}")
        if piece.text == "|":
            self.bars += 1
            inside = self.group("|", "|")
            self.bars -= 1
            return Node("abs", (inside,))
        if piece.kind == "letter":
            self.at += 1
            return self.symbol(piece.text)
        if piece.kind == "command":
            self.at += 1
            return self.command(piece.text[1:])
        raise Unreadable(f"{piece.text or 'the end'!r} cannot be read there")

    def command(self, name: str) -> Node:
        if name == "pi" and self.peek().text != "_":
            return Node("pi")
        if name == "frac":
            return self.fraction()
        if name == "binom":
            return Node("binomial", (self.argument(), self.argument()))
        if name == "sqrt":
            degree = self.group("[", "]") if self.peek().text == "[" else number(2)
            return Node("^", (self.argument(), Node("^", (degree, number(-1)))))
        if name in ("lfloor", "lceil"):
            inside = self.sum()
            self.need(r"\rfloor" if name == "lfloor" else r"\rceil")
            return Node("floor" if name == "lfloor" else "ceil", (inside,))
        if name in ("lvert", "vert"):
            inside = self.sum()
            self.need(r"\rvert" if name == "lvert" else r"\vert")
            return Node("abs", (inside,))
        if name in ("sum", "prod"):
            return self.series(name)
        if name == "imath":
            return Node("i")
        if name in _TEXTS or name in _ACCENTS:
            return self.named(name)
        if name in FUNCTIONS:
            return self.function(name)
        if name in SYMBOLS or name == "pi":
            return self.symbol("\\" + name)
        raise Unreadable(f"'\\{name}' cannot be read as mathematics")

    def fraction(self) -> Node:
        start = self.at
        derivative = self.derivative()
        if derivative is not None:
            return derivative
        self.at = start
        top, low = self.argument(), self.argument()
        if top.op == low.op == "number" and low.value and not (top.decimal or low.decimal):
            return number(top.value / low.value)
        return Node("*", (top, Node("^", (low, number(-1)))))

    def derivative(self) -> Node | None:
        r"""\frac{d x}{d t} and \frac{d^{2} v}{d t^{2}}: one symbol each."""
        parts = [self.raw(), self.raw()]
        signs = ("d", r"\partial")
        found = all(part and part[0].text in signs for part in parts) and len(parts[1]) > 1 and parts[1][1].kind != "other"
        return symbol("/".join(_spelled(part) for part in parts)) if found else None

    def raw(self) -> list[Token]:
        """The pieces of one braced argument."""
        if not self.take("{"):
            return []
        start, depth = self.at, 1
        while depth and self.peek().kind != "end":
            depth += (self.peek().text == "{") - (self.peek().text == "}")
            self.at += 1
        if depth:
            raise Unreadable("a brace is not closed")
        return self.tokens[start : self.at - 1]

    def written(self) -> str:
        """The spelling of one argument: a group in braces, or the next piece."""
        if self.peek().text == "{":
            return _spelled(self.raw())
        piece = self.peek()
        if piece.kind == "end":
            raise Unreadable("something is missing at the end")
        self.at += 1
        return self.written() if piece.text[1:] in _TEXTS else piece.text

    def argument(self) -> Node:
        """What a command applies to: a group in braces or brackets, one digit, one letter, one command."""
        piece = self.peek()
        if piece.text == "{":
            return self.group("{", "}")
        if piece.text == "(":
            return self.group("(", ")")
        if piece.kind == "number" and len(piece.text) > 1 and piece.text.isdigit() and self.tokens[self.at - 1].text != r"\sqrt":
            self.tokens = [*self.tokens[: self.at], Token("number", piece.text[0], piece.gap), Token("number", piece.text[1:], False), *self.tokens[self.at + 1 :]]
        return self.atom()

    def named(self, command: str) -> Node:
        r"""\text{red}, \dot{x}: a symbol; \operatorname{sin} a function; \mathrm{e} the letter."""
        said = self.written()
        if command in _ACCENTS:
            return self.symbol(rf"\{command}{{{said}}}".replace("overline", "bar").replace("wide", ""))
        if said.removeprefix("\\") in FUNCTIONS:
            return self.function(said.removeprefix("\\"))
        if not said:
            raise Unreadable("a text is empty")
        return self.symbol(said)

    def symbol(self, name: str) -> Node:
        """A symbol with its index, primes and the argument of a function: x_{0}, x', x(t)."""
        if self.take("_"):
            name += f"_{self.written()}"
        while self.take("'"):
            name += "'"
        while self.peek().text == "^" and (self.peek(1).text == r"\prime" or (self.peek(1).text == "{" and self.peek(2).text == r"\prime")):
            self.at += 1
            name += "'" * self.written().count("prime")
        if name in ("e", "i"):
            return Node(name)
        if self.peek().text == "(":
            lone = self.peek(2).text == ")" and (self.peek(1).kind in ("letter", "number") or self.peek(1).text[1:] in SYMBOLS)
            if lone:
                start = self.at
                self.group("(", ")")
                name += _spelled(self.tokens[start : self.at])
        return symbol(name)

    def function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.take("_"):
            base = self.atom() if self.peek().kind == "number" else self.argument()
        if self.take("^"):
            power = self.exponent()
        self.trigonometric += name in TRIGONOMETRIC
        if name in ("gcd", "lcm", "max", "min"):
            args = self.several()
        else:
            args = (self.operand(),)
        self.trigonometric -= name in TRIGONOMETRIC
        if power is not None and power == Node("*", (number(-1), number(1))) and name in TRIGONOMETRIC:
            return Node("arc" + name, args)
        made = {
            "log": Node("log", (*args, base or number(10))),
            "lg": Node("log", (*args, number(10))),
            "sqrt": Node("^", (args[0], number(Fraction(1, 2)))),
            "exp": Node("^", (Node("e"), args[0])),
        }.get(name, Node(name.replace("arsinh", "arcsinh").replace("arcosh", "arccosh").replace("artanh", "arctanh"), args))
        return made if power is None else Node("^", (made, power))

    def several(self) -> tuple[Node, ...]:
        closing = {"(": ")", "{": "}", "[": "]"}.get(self.peek().text)
        if closing is None:
            raise Unreadable("a bracket is missing")
        self.at += 1
        args = [self.sum()]
        while self.take(","):
            args.append(self.sum())
        self.need(closing)
        return tuple(args)

    def operand(self) -> Node:
        """What a function applies to: a bracket, or the factors up to a sign, a slash, a bracket or another function."""
        if self.peek().text in ("(", "[", "{"):
            opening = self.peek().text
            return self.group(opening, {"(": ")", "[": "]", "{": "}"}[opening])
        negative = self.take("-")
        parts = [self.power()]
        while self.begins(self.peek()) and self.peek().text not in ("(", "[") and self.peek().text[1:] not in FUNCTIONS:
            if self.side_by_side(self.peek()):
                break
            parts.append(self.power())
        made = parts[0] if len(parts) == 1 else Node("*", tuple(parts))
        return Node("*", (number(-1), made)) if negative else made

    def series(self, name: str) -> Node:
        r"""\sum_{k=1}^{n} k^2"""
        self.need("_")
        self.need("{")
        index = self.atom()
        self.need("=")
        low = self.sum()
        self.need("}")
        self.need("^")
        high = self.exponent()
        if index.op not in ("symbol", "i"):
            raise Unreadable(f"the index of a {name} is no letter")
        body = self.product()
        return Node(name, (low, high, body), name=index.name or "i")


def _spelled(pieces: list[Token]) -> str:
    """A run of pieces in one spelling, without spaces, braces and fonts."""
    kept = [piece.text for piece in pieces if piece.text not in ("{", "}") and piece.text[1:] not in _TEXTS]
    return "".join(kept)
