"""Inputs that hurt a parser which looks at a byte often, built from its own regular expressions.

For each repetition in an expression: what stands before it, then what it repeats, many times, then something
that it cannot go on with. And for a parser as a whole: its own delimiters, in the middle of what it knows.
"""

import gc
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from math import log
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from time import thread_time
from types import ModuleType
from typing import Any

MANY = 20  # a repetition of fewer is bounded well enough
ENDS = ("\0", ": ")
_WAYS = ("match", "fullmatch", "search", "finditer", "findall", "split", "sub")
_STEP = 4
_SIZES = [125, 500, 2000, 8000]
_FEWEST = 2
_ENOUGH = 0.02
_MEASURABLE = 0.004
_ROUNDS = 3

_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: lambda it: it.isdigit(),
    op.CATEGORY_SPACE: lambda it: it.isspace(),
    op.CATEGORY_WORD: lambda it: it.isalnum() or it == "_",
    op.CATEGORY_NOT_SPACE: lambda it: not it.isspace(),
    op.CATEGORY_NOT_DIGIT: lambda it: not it.isdigit(),
    op.CATEGORY_NOT_WORD: lambda it: not (it.isalnum() or it == "_"),
}

Attack = Callable[[int], str]
Used = tuple[re.Pattern[Any], list[Callable[[Any], object]]]


def attacks(pattern: re.Pattern[Any]) -> Iterator[Attack]:
    """Inputs of about some number of characters each."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(source, pattern.flags & ~re.UNICODE)
    for before, item, after in _repetitions(list(tree), ""):
        for pump in sorted({item, item + after}):
            for end in ENDS:
                yield _attack(before, pump or "a", end)
                yield _attack("", pump or "a", end)


def delimited(seeds: Sequence[str], words: Sequence[str]) -> Iterator[Attack]:
    """Known inputs, cut, with delimiters many times in between."""
    for seed in seeds:
        for cut in {0, len(seed) // 3, len(seed) // 2, len(seed)}:
            for word in words:
                yield _attack(seed[:cut], word, seed[cut:] + "!")


def _attack(before: str, pump: str, end: str) -> Attack:
    return lambda size: before + pump * max(1, (size - len(before)) // len(pump)) + end


def exponent(larger: Callable[[int], Callable[[], object]]) -> float:
    """By which power of the input's size the time grows; 0 where it is too short to be measured.

    Args:
        larger: Returns the work on an input of some size.
    """
    times: list[float] = []
    for size in _SIZES:
        work = larger(size)
        times.append(min(_timed(work) for _ in range(_ROUNDS)))
        if times[-1] > _ENOUGH:
            break
    if len(times) < _FEWEST or times[-1] < _MEASURABLE:
        return 0.0
    span = min(len(times) - 1, 2)
    return log(times[-1] / max(times[-1 - span], 1e-6), _STEP**span)


def _timed(work: Callable[[], object]) -> float:
    gc.disable()  # what a collection costs is not the parser's
    try:
        start = thread_time()
        work()
        return thread_time() - start
    finally:
        gc.enable()


def patterns(
    modules: Sequence[ModuleType],
) -> dict[str, tuple[re.Pattern[Any], list[Callable[[Any], object]]]]:
    """Every compiled expression of some modules by name, with the ways in which it is used there."""
    found: dict[str, Used] = {}
    for module in modules:
        source = inspect.getsource(module)
        for name, value in vars(module).items():
            owner = getattr(value, "__self__", value)
            if not isinstance(owner, re.Pattern):
                continue
            used = set(re.findall(rf"\b{name}\.([a-z]+)\(", source)) if value is owner else {value.__name__}
            ways = [_all(getattr(owner, way)) for way in sorted(used & set(_WAYS))]
            found[f"{module.__name__}.{name}"] = owner, ways
    return found


def _all(method: Callable[..., Any]) -> Callable[[Any], object]:
    if method.__name__ == "sub":
        return lambda text: method(text[:0], text)
    return lambda text: list(method(text)) if method.__name__ == "finditer" else method(text)


def loaded(prefix: str) -> list[ModuleType]:
    """Modules that were imported."""
    gc.collect()
    return [module for name, module in sorted(sys.modules.items()) if name.startswith(prefix)]


# What an expression matches


def _repetitions(items: list[Any], before: str) -> Iterator[tuple[str, str, str]]:
    """(A text before it, what is repeated, a text after it) of every repetition that may be long."""
    for index, (kind, argument) in enumerate(items):
        after = "".join(_sample(item) for item in items[index + 1 : index + 4])
        if kind in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
            _, most, inner = argument
            if most >= MANY:
                yield before, _text(list(inner)), after
            yield from _repetitions(list(inner), before)
        elif kind is op.SUBPATTERN:
            yield from _repetitions(list(argument[3]), before)
        elif kind is op.BRANCH:
            for branch in argument[1]:
                yield from _repetitions(list(branch), before)
        elif kind is op.GROUPREF_EXISTS:
            for branch in argument[1:]:
                yield from _repetitions(list(branch or ()), before)
        elif kind is op.ATOMIC_GROUP:
            yield from _repetitions(list(argument), before)
        before += _sample((kind, argument))


def _text(items: list[Any]) -> str:
    return "".join(map(_sample, items))


def _sample(item: tuple[Any, Any]) -> str:  # noqa: PLR0911 - a table of kinds
    kind, argument = item
    if kind is op.LITERAL:
        return chr(int(argument))
    if kind is op.NOT_LITERAL:
        return "b" if argument == ord("a") else "a"
    if kind is op.ANY:
        return "a"
    if kind is op.IN:
        return _member(argument)
    if kind in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
        least, most, inner = argument
        return _text(list(inner)) * int(min(max(least, 1), most, 40))
    if kind is op.SUBPATTERN:
        return _text(list(argument[3]))
    if kind is op.BRANCH:
        return _text(list(argument[1][0]))
    if kind is op.GROUPREF_EXISTS:
        return _text(list(argument[1]))
    if kind is op.ATOMIC_GROUP:
        return _text(list(argument))
    return ""


def _member(members: list[Any]) -> str:
    negated = members[0][0] is op.NEGATE
    accepted = [chr(code) for code in range(32, 127) if _contains(members, code) != negated]
    preferred = [it for it in "1a. :" if it in accepted]
    return (preferred or accepted or ["\n"])[0]


def _contains(members: list[Any], code: int) -> bool:
    for kind, argument in members:
        if kind is op.LITERAL and argument == code:
            return True
        if kind is op.RANGE and argument[0] <= code <= argument[1]:
            return True
        if kind is op.CATEGORY and _CATEGORIES[argument](chr(code)):
            return True
    return False
