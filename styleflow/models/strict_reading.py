"""Plain data into frozen dataclasses, strictly: what a card says about a network is understood or refused.

The standard library only, so that sizes can be read where nothing but torch is installed. Fields may be positive
whole numbers, words of a `Literal`, tuples of numbers, such dataclasses, and a choice of dataclasses (`A | B`) that
differ in the only word that their `backbone` may be.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

Described = TypeVar("Described")

CHOSEN_BY = "backbone"


def read(kind: type[Described], value: object, place: str = "") -> Described:
    """The dataclass that `value`, a mapping as JSON gives it, describes.

    Raises ValueError, naming the field, for one that is unknown, missing, of another type, or not positive, and for
    fields that do not fit each other.
    """
    if not isinstance(value, dict):
        raise _error(place or "the sizes", "must be an object", value)
    known = {field.name: field for field in fields(cast("Any", kind))}
    for name in value:
        if name not in known:
            raise ValueError(f"validation error at {_inside(place, str(name))}: there is no such field")
    lacking = next((name for name, field in known.items() if name not in value and _is_required(field)), None)
    if lacking is not None:
        raise ValueError(f"validation error at {_inside(place, lacking)}: it is missing")
    hints = get_type_hints(kind)
    given = {name: _read_field(hints[name], value[name], _inside(place, name)) for name in known if name in value}
    return kind(**given)


def _read_field(hint: Any, value: object, place: str) -> Any:
    if is_dataclass(hint):
        return read(cast("type[Any]", hint), value, place)
    if isinstance(hint, UnionType):
        return read(_chosen(get_args(hint), value, place), value, place)
    if get_origin(hint) is Literal:
        if value not in get_args(hint) or not isinstance(value, str):
            raise _error(place, f"must be one of {', '.join(get_args(hint))}", value)
        return value
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise _error(place, f"must be a list of {len(kinds)}", value)
        return tuple(
            _read_field(*pair, f"{place}.{index}") for index, pair in enumerate(zip(kinds, value, strict=True))
        )
    if type(value) is not int or value < 1:
        raise _error(place, "must be a positive whole number", value)
    return value


def _chosen(kinds: tuple[type[Any], ...], value: object, place: str) -> type[Any]:
    """By its word; where that is left out, the first kind."""
    words = {get_args(get_type_hints(kind)[CHOSEN_BY])[0]: kind for kind in kinds}
    word = value.get(CHOSEN_BY, next(iter(words))) if isinstance(value, dict) else next(iter(words))
    if not isinstance(word, str) or word not in words:
        raise _error(_inside(place, CHOSEN_BY), f"must be one of {', '.join(words)}", word)
    return words[word]


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _inside(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _error(place: str, rule: str, found: object) -> ValueError:
    return ValueError(f"validation error at {place}: {rule}, not {found!r:.60}")
