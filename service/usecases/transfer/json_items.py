"""Reads the objects of a JSON list one after the other, so that a file of any size needs little memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.usecases.transfer.values import UnreadableFileError

_CHUNK: Final = 1 << 16
"""Bytes of one read."""

_MAX_ITEM: Final = 1 << 20
"""Characters of one object; the longest text that is in memory."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def read_items(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Return the objects of a JSON list, each with the number of its first line.

    Raises:
        UnreadableFileError: The file is not a complete JSON list of objects, or an object is too long.
    """
    text = _Text(file)
    if text.next_character() != "[":
        raise UnreadableFileError(text.line, "a JSON list starts with [")
    text.advance(1)
    character = text.next_character()
    while character != "]":
        if character != "{":
            raise UnreadableFileError(text.line, "expected an object in the list, or ] after the last one")
        yield text.line, text.read_object()
        character = text.next_character()
        if character == ",":
            text.advance(1)
            if (character := text.next_character()) == "]":
                raise UnreadableFileError(text.line, "expected an object after the comma")
        elif character != "]":
            raise UnreadableFileError(text.line, "expected a comma or ] after an object")
    text.advance(1)
    if text.next_character():
        raise UnreadableFileError(text.line, "there is text after the end of the list")


class _Text:
    """The part of the file that is in memory, and the position in it; ``line`` is the line of the position."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer = ""
        self._position = 0
        self._is_complete = False
        self.line = 1

    def next_character(self) -> str:
        """Skip white space; return the character at the position, or "" at the end of the file."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            assert match is not None, "the pattern matches an empty text"
            self.advance(match.end() - self._position)
            if self._position < len(self._buffer) or self._is_complete:
                return self._buffer[self._position : self._position + 1]
            self._read(_CHUNK)

    def advance(self, characters: int) -> None:
        """Move the position."""
        end = self._position + characters
        self.line += self._buffer.count("\n", self._position, end)
        self._position = end

    def read_object(self) -> dict[str, Any]:
        """Return the object at the position, and move the position behind it."""
        while True:
            try:
                item, end = _DECODER.raw_decode(self._buffer, self._position)
            except json.JSONDecodeError as error:
                length = len(self._buffer) - self._position
                if self._is_complete or length > _MAX_ITEM:
                    line = self.line + self._buffer.count("\n", self._position, error.pos)
                    raise UnreadableFileError(line, f"the object is not JSON ({error.msg})") from None
                self._read(max(_CHUNK, length))
            except (RecursionError, ValueError):  # a number with thousands of digits
                raise UnreadableFileError(self.line, "the object is nested too deeply or too long") from None
            else:
                self.advance(end - self._position)
                return dict(item)

    def _read(self, size: int) -> None:
        data = self._file.read(size)
        rest = self._buffer[self._position :]
        try:
            self._buffer = rest + self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            line = self.line + rest.count("\n") + bytes(error.object)[: error.start].count(b"\n")
            raise UnreadableFileError(line, "the text is not UTF-8") from None
        self._position = 0
        self._is_complete = not data
