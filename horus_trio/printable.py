"""Text from anywhere, made fit to be read by people on a terminal.

What a device, a peer or a file says ends up in errors, logs, reports and tables, and a terminal
obeys some characters instead of showing them: they move the cursor, hide text, or turn its order
round. Here such characters are written as Python escapes them in source, ``\\x1b`` for instance,
and the text of one entry stays recognisable as one. All other characters of all languages are left
as they are. It is done where text leaves for people, and nowhere else; both functions change
nothing in what they have returned.
"""

from __future__ import annotations

import unicodedata

__all__ = ["entry", "one_line"]

INDENT = "    "
"""Before the further lines of an entry."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def one_line(text: str) -> str:
    """The text in one line, with nothing in it that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or unicodedata.category(c) == "Zs" else _escaped(c) for c in text
    )


def entry(text: str, indent: str = INDENT) -> str:
    """The text with its lines and tabs, each further line indented if not all of them are.

    So no part of a text can be taken for the beginning of another one.

    Arguments:
        text: Of one or several lines.
        indent: What each line but the first begins with.
    """
    if text.isprintable():
        return text
    first, *more = ("\t".join(map(one_line, row.split("\t"))) for row in text.split("\n"))
    if indent and not all(row.startswith(indent) or not row for row in more):
        more = [f"{indent}{row}" if row else row for row in more]
    return "\n".join((first, *more))


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
