"""The grammar of written sums, products and powers: one pass over the pieces, bounded in depth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction

from evals.graders.scanner import ACCENTS, FUNCTIONS, SYMBOLS, TEXTS, Token
from evals.graders.trees import Node, Unreadable, number

MAX_DEPTH = 40
MAX_DIGITS = 2000


class Grammar(ABC):
    """Sums, products and powers; what a letter or a command begins is left to `letter` and `command`."""

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
                lettered = self.lettered()
                low = [self.signed()]
                while (
                    lettered and self.lettered() and (self.tokens[self.at - 1].kind == "command" or not self.peek().gap)
                ):
                    low.append(self.power())  # t/RC is t/(RC)
                parts.append(Node("^", (low[0] if len(low) == 1 else Node("*", tuple(low)), number(-1))))
            elif piece.text in (r"\bmod", r"\mod", r"\pmod"):
                self.at += 1
                whole = parts[0] if len(parts) == 1 else Node("*", tuple(parts))
                parts = [Node("mod", (whole, self.signed()))]
            elif self.begins(piece) and not self.side_by_side(piece):
                parts.append(self.power())
            else:
                return parts[0] if len(parts) == 1 else Node("*", tuple(parts))

    def lettered(self) -> bool:
        """Whether a letter stands there, Latin or Greek."""
        piece = self.peek()
        return piece.kind == "letter" or (piece.kind == "command" and piece.text[1:] in SYMBOLS)

    def side_by_side(self, piece: Token) -> bool:
        """Whether a number follows a number, or a letter: that is no product."""
        if piece.kind != "number":
            return False
        before = self.tokens[self.at - 1]
        if before.text in (")", "]", "}", "!") or (before.kind == "letter" and self.peek(1).text == "^"):
            return False  # n2^n is a product, x2 nothing
        raise Unreadable(f"{piece.text!r} stands beside {before.text!r}")

    def begins(self, piece: Token) -> bool:
        """Whether a factor can begin with this piece."""
        if piece.kind in ("number", "letter"):
            return True
        if piece.kind == "command":
            name = piece.text[1:]
            known = name in FUNCTIONS or name in SYMBOLS or name in ACCENTS or name in TEXTS
            return known or name in (
                "pi",
                "frac",
                "binom",
                "sqrt",
                "lfloor",
                "lceil",
                "sum",
                "prod",
                "lvert",
                "vert",
                "imath",
            )
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
        whole = top.kind == low.kind == "number" and top.text.isdigit() and low.text.isdigit()
        if whole and top.gap and slash.text == "/" and 0 < int(top.text) < int(low.text):
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
            base = Node("^", (base, self.deeper(self.exponent)))
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
        if opening == "{" and self.take(r"\over"):
            inside = Node("*", (inside, Node("^", (self.sum(), number(-1)))))
        elif opening == "{" and self.take(r"\choose"):
            inside = Node("binomial", (inside, self.sum()))
        if self.peek().text not in closing:
            raise Unreadable(f"{closing[0]!r} is missing before {self.peek().text or 'the end'!r}")
        self.at += 1
        return inside

    def atom(self) -> Node:
        return self.deeper(self.simple)

    def deeper(self, read: Callable[[], Node]) -> Node:
        """What `read` reads one level down. Raises Unreadable below MAX_DEPTH, long before Python's own limit."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("it is nested too deeply")
        made = read()
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

    @abstractmethod
    def symbol(self, name: str) -> Node:
        """What a letter or another name begins."""

    @abstractmethod
    def command(self, name: str) -> Node:
        """What a command begins, itself already taken."""
