"""Puts a changed source file into a process that has imported the file already.

The functions that the file has made stay the objects they are, and are given new code. So a mutant
costs no import. What ran when the file was imported, such as a class or a default, cannot be put in
so: `Functions.put_in` says no.
"""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from pathlib import Path

Key = tuple[str, int]
"""The qualified name and the first line of a function."""


class Functions:
    """All functions of a package that there are, by their files."""

    def __init__(self, package: Path) -> None:
        self._by_file: dict[str, dict[Key, list[types.FunctionType]]] = {}
        for function in [o for o in gc.get_objects() if type(o) is types.FunctionType]:
            code = function.__code__
            if Path(code.co_filename).is_relative_to(package):
                known = self._by_file.setdefault(code.co_filename, {})
                known.setdefault((code.co_qualname, code.co_firstlineno), []).append(function)

    def put_in(self, file: Path, imported: str, changed: str) -> bool:
        """Give functions the code they have in a changed source; whether that is all of it."""
        known = self._by_file.get(str(file), {})
        before = compile(imported, str(file), "exec", dont_inherit=True)
        after = compile(changed, str(file), "exec", dont_inherit=True)
        exchanged = list(_changed(before, after, known))
        if not exchanged or None in exchanged:
            return False
        for pair in exchanged:
            if pair is None or not all(_fits(f, pair[1]) for f in known[pair[0]]):
                return False
        for pair in exchanged:
            if pair is not None:
                for function in known[pair[0]]:
                    _exchange(function, pair[1])
        return True


def _changed(
    before: types.CodeType, after: types.CodeType, known: dict[Key, list[types.FunctionType]]
) -> Iterator[tuple[Key, types.CodeType] | None]:
    """The functions whose code is another one; None for what is no function, or is not known."""
    if before == after:
        return
    key = (before.co_qualname, before.co_firstlineno)
    if key in known:
        yield key, after
        return
    inner = [
        [c for c in code.co_consts if isinstance(c, types.CodeType)] for code in (before, after)
    ]
    if len(inner[0]) != len(inner[1]) or _without_inner(before) != _without_inner(after):
        yield None
        return
    for one, other in zip(*inner, strict=True):
        yield from _changed(one, other, known)


def _without_inner(code: types.CodeType) -> types.CodeType:
    """The code of a module or class alone; not where in its lines a function ends."""
    rest = tuple(c for c in code.co_consts if not isinstance(c, types.CodeType))
    return code.replace(co_consts=rest, co_linetable=b"")


def _fits(function: types.FunctionType, code: types.CodeType) -> bool:
    return len(code.co_freevars) == len(function.__code__.co_freevars)


def _exchange(function: types.FunctionType, code: types.CodeType) -> None:
    """Give a function other code; tables that know functions by their code know it still."""
    old = function.__code__
    function.__code__ = code
    for table in [t for t in gc.get_referrers(old) if isinstance(t, dict) and old in t]:
        table[code] = table.pop(old)
