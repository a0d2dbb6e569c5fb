"""Text that arrives in pieces, read as lines or as JSON values with bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

SHOWN_CHARS = 4096  # kept of a row that is too long to be kept whole
_MARKS = re.compile(r'["\[\]{}]')
_IN_STRING = re.compile(r'["\\]')


class Line(NamedTuple):
    """One line of a text, without its end."""

    number: int  # 1-based
    text: str  # only the first SHOWN_CHARS if it is too long
    too_long: bool
    ended: bool  # by a newline; False for a last line without


class TextStream:
    """A buffer over pieces of text; ``position`` is where reading goes on."""

    def __init__(self, chunks: Iterator[str]) -> None:
        """Read from ``chunks``."""
        self._chunks = chunks
        self.text, self.position, self.ended, self.line = "", 0, False, 1

    def more(self) -> bool:
        """Add the next piece behind the unread text and drop the read text; False at the end."""
        piece = next(self._chunks, None)
        if piece is None:
            self.ended = True
            return False
        self.line += self.text.count("\n", 0, self.position)
        self.text = self.text[self.position :] + piece
        self.position = 0
        return True

    def fill(self, chars: int) -> None:
        """Have at least ``chars`` unread characters at hand, or all that are left."""
        while len(self.text) - self.position < chars and not self.ended:
            self.more()

    def ends_behind(self, index: int) -> bool:
        """Tell whether only white space follows ``text[index]``, without taking anything."""
        unread = index - self.position
        while not self.text[self.position + unread :].strip():
            if not self.more():
                return True
        return False

    def line_here(self) -> int:
        """Return the 1-based number of the line of ``position``."""
        return self.line + self.text.count("\n", 0, self.position)

    def peek(self) -> str:
        """Skip white space; return the next character without taking it, ``""`` at the end."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in " \t\r\n":
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.more():
                return ""

    def lines(self, max_chars: int) -> Iterator[Line]:
        """Yield lines, cut at line feeds alone: U+2028 and its like are part of the text."""
        number = self.line_here()
        start, skipped = "", False  # of a line longer than the buffer
        while True:
            end = self.text.find("\n", self.position)
            if end >= 0:
                piece = self.text[self.position : end]
                self.position = end + 1
                yield self._line(number, start if skipped else piece, skipped, max_chars, True)
                number, start, skipped = number + 1, "", False
                continue
            if len(self.text) - self.position > max_chars:
                start = start if skipped else self.text[self.position :][:SHOWN_CHARS]
                skipped, self.position = True, len(self.text)
            if not self.more():
                break
        piece = self.text[self.position :]
        self.position = len(self.text)
        if piece or skipped:
            yield self._line(number, start if skipped else piece, skipped, max_chars, False)

    @staticmethod
    def _line(number: int, text: str, skipped: bool, max_chars: int, ended: bool) -> Line:
        too_long = skipped or len(text) > max_chars
        return Line(number, text[:SHOWN_CHARS] if too_long else text, too_long, ended)

    def skip_value(self) -> tuple[str, bool]:
        """Pass the bracketed value that begins here, whatever its size, by its brackets alone.

        Return its first SHOWN_CHARS and whether its last bracket was found.
        """
        depth, in_string, shown = 0, False, ""
        while True:
            mark = (_IN_STRING if in_string else _MARKS).search(self.text, self.position)
            begin, self.position = self.position, mark.end() if mark else len(self.text)
            if len(shown) < SHOWN_CHARS:
                shown += self.text[begin : self.position][: SHOWN_CHARS - len(shown)]
            if mark and mark[0] == "\\":  # the character behind it can't end the string
                self.fill(1)
                self.position = min(self.position + 1, len(self.text))
                continue
            if mark is None:
                if not self.more():
                    return shown, False
            elif mark[0] == '"':
                in_string = not in_string
            elif mark[0] in "[{":
                depth += 1
            elif mark[0] in "]}":
                depth -= 1
                if depth <= 0:
                    return shown, True
