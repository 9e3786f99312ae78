"""Texts that attack a terminal, and what a terminal was made to do by what it was shown."""

from __future__ import annotations

import re
import unicodedata

EVIL = {
    "clears": "\x1b[2J\x1b[Hforged",
    "moves up": "\x1b[5Aforged\x1b[K",
    "conceals": "\x1b[8mforged",
    "sets the title": "\x1b]0;forged\x07",
    "types": "\x1b[6n\x1bP$qm\x1b\\forged",
    "C1": "\x9b2Jforged\x9d0;x\x9c",
    "returns": "x\rforged",
    "breaks the line": "x\nforged",
    "breaks it otherwise": "x\x0bforged\x0cforged\x85forged\u2028forged\u2029forged",
    "goes back": "x\b\bforged\x7f",
    "turns round": "\u202eforged\u2066",
    "is invisible": "a\u200b\u2060\ufeffforged",
    "ends a text": "x\0forged",
    "is half a character": "x\udc9b\ud800forged",
    "tags": "x\U000e0041forged",
}
"""What devices, peers and files may say; each has the word ``forged`` in it."""

HARMLESS = ["Kamera-größe", "камера", "カメラ", "摄像头", "كاميرا", "מצלמה", "कैमरा", "🤖", "a b"]
"""Names as people all over the world give them."""

_OURS = re.compile(r"\x1b\[(\?25[lh]|\?7[lh]|K|J|\d+A|0m|(1|2|31|32|33)(;(1|2|31|32|33))*m)|\r")


def obeyed(shown: str) -> set[str]:
    """The characters that a terminal has obeyed, besides what our own pictures are made of."""
    rest = _OURS.sub("", shown.replace("\r\n", "\n"))
    return {
        c for c in rest if not (c.isprintable() or c == "\n" or unicodedata.category(c) == "Zs")
    }


def forged_lines(shown: str) -> list[str]:
    """The lines that begin with what an attacker wants to be one."""
    return [line for line in re.split(r"[\r\n]+", shown) if line.startswith("forged")]
