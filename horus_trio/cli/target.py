"""From the TARGET of ``horus-trio run`` to a scheduler.

A target is a file or a module, either with ``:attribute``. What is found is a `Scheduler`, nodes,
node classes, or a function that makes one of these; the program decides by what it defines, and
where that is not clear it is said what to name.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, cast

import horus_trio as horus
from horus_trio.errors import nearest
from horus_trio.scheduler.surroundings import importer

from .errors import USAGE, CommandFailed
from .failure import described

__all__ = ["load", "require_file"]

Ingredient: TypeAlias = horus.Node | type[horus.Node]


def load(target: str) -> horus.Scheduler:
    """Import the target and find or make its scheduler; one made here is named for the module.

    Arguments:
        target: ``FILE.py``, ``MODULE``, or one of them with ``:ATTRIBUTE``.

    Raises:
        CommandFailed: There is no such thing, nothing to run, or the target's own code failed.
    """
    place, _, attribute = target.partition(":")
    if place.endswith(".py") or os.sep in place:
        module = _import_file(Path(place))
        name = Path(place).stem
    else:
        module = _import_module(place)
        name = place.rpartition(".")[2]
    found = _attribute(module, attribute, target) if attribute else _look(module, target)
    return _scheduler(found, target, name)


# Importing


def _import_file(path: Path) -> ModuleType:
    require_file(path)
    # As Python does for a program; and the program's own arguments are none of ours.
    sys.path.insert(0, str(path.parent.resolve()))
    sys.argv = [str(path)]
    # Not `__main__`: what a program does as such, it does when it is started by itself.
    name = path.stem if path.stem not in sys.modules else f"{path.stem} of horus-trio run"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CommandFailed(f"{path}: expected a Python file, *.py", USAGE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    loader = spec.loader
    _run_target(str(path), lambda: loader.exec_module(module))
    return module


def _import_module(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = [name]
    if not all(part.isidentifier() for part in name.split(".")):
        raise CommandFailed(
            f"{name!r} is neither a file nor a module; expected FILE.py, MODULE, or one of them "
            "with :ATTRIBUTE",
            USAGE,
        )
    try:
        return cast(ModuleType, _run_target(name, lambda: importlib.import_module(name)))
    except ModuleNotFoundError:
        here = [p.stem for p in Path.cwd().glob("*.py")]
        file = Path(*name.split(".")).with_suffix(".py")
        hint = f"; did you mean {str(file)!r}?" if _is_file(file) else ""
        raise CommandFailed(
            f"there is no module {name!r}{hint or (nearest(name, here) if here else '')}", USAGE
        ) from None


def _run_target(target: str, code: Callable[[], Any]) -> Any:
    """Import the target's own code, and show what it raises without our frames."""
    importing = importer.set("horus-trio run")
    try:
        return code()
    except SystemExit as error:
        raise CommandFailed(
            f"{target} ended itself while it was imported (exit code {error.code!r}); put what it "
            'does as a program under `if __name__ == "__main__":`'
        ) from None
    except ModuleNotFoundError as error:
        # The target itself, or a package it is in.
        if error.name is not None and f"{target}.".startswith(f"{error.name}."):
            raise
        raise CommandFailed(f"{target} could not be imported\n{described(error)}") from None
    except Exception as error:  # noqa: BLE001 - it is the target's
        raise CommandFailed(f"{target} could not be imported\n{described(error)}") from None
    finally:
        importer.reset(importing)


def require_file(path: Path) -> None:
    """Check that there is such a program.

    Raises:
        CommandFailed: There is none, or that cannot be said: its name is too long, or its folder
            is closed to us.
    """
    if _is_file(path):
        return
    with _looking_at(path):
        siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        kind = "it is a folder" if path.is_dir() else "there is no such file"
    hint = nearest(path.name, siblings) if siblings else ""
    raise CommandFailed(f"{path}: {kind}{hint}", USAGE)


def _is_file(path: Path) -> bool:
    with _looking_at(path):
        return path.is_file()


@contextlib.contextmanager
def _looking_at(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{path!s:.200}: {error.strerror}", USAGE) from None


# Finding


def _attribute(module: ModuleType, path: str, target: str) -> Any:
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [name for name in dir(found) if not name.startswith("_")]
            where = getattr(found, "__name__", repr(found))
            raise CommandFailed(
                f"{target}: {where} has no attribute {part!r}{nearest(part, public)}", USAGE
            ) from None
        except Exception as error:  # noqa: BLE001 - it is the target's, such as a property
            raise CommandFailed(f"{target}: {part!r} failed\n{described(error)}") from None
    return found


def _look(module: ModuleType, target: str) -> Any:
    """The scheduler of a module; or its nodes; or the node classes it defines."""
    named = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    schedulers = _unique(named, lambda value: isinstance(value, horus.Scheduler))
    if len(schedulers) > 1:
        names = ", ".join(schedulers)
        raise CommandFailed(
            f"{target} has several schedulers: {names}; name one, as in "
            f"{target}:{next(iter(schedulers))}",
            USAGE,
        )
    nodes = _unique(named, lambda value: isinstance(value, horus.Node))
    classes = _unique(named, lambda value: _is_defined_node(value, module))
    found = list(schedulers.values()) or list(nodes.values()) or list(classes.values())
    if found:
        return found[0] if schedulers else found
    makers = [n for n, v in named.items() if inspect.isfunction(v) and _is_maker(v, module)]
    hint = f"; does {makers[0]}() make one? Then name it: {target}:{makers[0]}" if makers else ""
    raise CommandFailed(
        f"{target} has nothing to run: expected a Scheduler, nodes, or node classes{hint}", USAGE
    )


def _unique(named: dict[str, Any], wanted: Callable[[Any], bool]) -> dict[str, Any]:
    """By its first name, each object once."""
    seen: dict[int, str] = {}
    for name, value in named.items():
        if wanted(value):
            seen.setdefault(id(value), name)
    return {name: named[name] for name in seen.values()}


def _is_node_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, horus.Node)


def _is_defined_node(value: Any, module: ModuleType) -> bool:
    if not _is_node_class(value) or value.__module__ != module.__name__:
        return False
    has_tick = any(
        hook in vars(base)
        for base in value.__mro__
        if base not in (horus.Node, horus.AsyncNode)
        for hook in ("tick", "tick_async")
    )
    return has_tick and not inspect.isabstract(value) and not value.__name__.startswith("_")


def _is_maker(value: Any, module: ModuleType) -> bool:
    return value.__module__ == module.__name__ and _needs(value) is None


# Making


def _scheduler(found: Any, target: str, name: str) -> horus.Scheduler:
    if inspect.isroutine(found):
        found = _call(found, target)
        if found is None:
            raise CommandFailed(
                f"{target}() returned None; expected a Scheduler, nodes, or node classes", USAGE
            )
    if isinstance(found, horus.Scheduler):
        return found
    if isinstance(found, horus.Node) or _is_node_class(found):
        found = [found]
    if not isinstance(found, Iterable) or isinstance(found, (str, bytes, dict)):
        raise CommandFailed(
            f"{target} is {found!r}; expected a Scheduler, nodes, node classes, or a function "
            "that makes one of these",
            USAGE,
        )
    return _robot(list(found), target, name)


def _robot(ingredients: list[Any], target: str, name: str) -> horus.Scheduler:
    scheduler = horus.Scheduler(name=name if name.isprintable() else "horus")
    for ingredient in ingredients:
        if not isinstance(ingredient, horus.Node) and not _is_node_class(ingredient):
            raise CommandFailed(
                f"{target} holds {ingredient!r}; expected nodes and node classes", USAGE
            )
        if isinstance(ingredient, type) and (missing := _needs(ingredient)) is not None:
            cls = ingredient.__name__
            raise CommandFailed(
                f"{target}: {cls}() {missing}; make the node in the file, as in `node = {cls}(…)`",
                USAGE,
            )
        try:
            scheduler.add(ingredient)
        except horus.HorusError as error:
            raise CommandFailed(f"{target}: {error}", USAGE) from None
        except Exception as error:  # noqa: BLE001 - it is the target's
            raise CommandFailed(
                f"{target}: {getattr(ingredient, '__name__', ingredient)}() failed\n"
                f"{described(error)}"
            ) from None
    return scheduler


def _call(function: Callable[[], Any], target: str) -> Any:
    if inspect.iscoroutinefunction(function):
        raise CommandFailed(
            f"{target} is an async function; expected a plain one that returns a Scheduler, "
            "nodes, or node classes",
            USAGE,
        )
    if (missing := _needs(function)) is not None:
        raise CommandFailed(f"{target}() {missing}; it is called without any", USAGE)
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - it is the target's
        raise CommandFailed(f"{target}() failed\n{described(error)}") from None


def _needs(function: Callable[..., Any]) -> str | None:
    """What is wrong with calling it without arguments, or None."""
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        return f"needs arguments ({error})"
    except ValueError:
        pass  # no signature is known: calling it will show
    return None
