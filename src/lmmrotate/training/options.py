"""Options of a command: one frozen dataclass each, read from YAML, every key checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, fields
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from lmmrotate.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Options = TypeVar("Options", bound=DataclassInstance)
else:
    Options = TypeVar("Options")


def option(default: Any, text: str) -> Any:
    """A field with its default and the one line that ``--help`` and the docs say about it."""
    return field(default=default, metadata={"help": text})


def require(options: DataclassInstance, *names: str) -> None:
    """Raises ConfigError if one of these options is empty."""
    for name in names:
        if not getattr(options, name):
            raise ConfigError(f"{name} must be given")


def check_above(options: DataclassInstance, *names: str) -> None:
    """Raises ConfigError unless every one of these options is above 0."""
    for name in names:
        if not getattr(options, name) > 0:  # so written, NaN is refused too
            raise ConfigError(f"{name} must be above 0, got {getattr(options, name)}")


def check_not_negative(options: DataclassInstance, *names: str) -> None:
    """Raises ConfigError if one of these options is below 0."""
    for name in names:
        if not getattr(options, name) >= 0:
            raise ConfigError(f"{name} must not be negative, got {getattr(options, name)}")


def check_common(options: DataclassInstance) -> None:
    """What holds for every command: finite numbers, no null bytes, a seed that all libraries take."""
    for f in fields(options):
        value = getattr(options, f.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, float) and not isfinite(part):
                raise ConfigError(f"{f.name} must be a finite number, got {part}")
        if "\0" in str(value):
            raise ConfigError(f"{f.name} contains a null byte")
        if f.name == "seed" and not 0 <= value < 2**32:
            raise ConfigError(f"seed must be from 0 to {2**32 - 1}, got {value}")


def check_one_of(name: str, value: str, valid: tuple[str, ...]) -> None:
    """Raises ConfigError unless ``value`` is valid."""
    if value not in valid:
        raise ConfigError(f"{name} is {value!r}; valid: {', '.join(valid)}")


def read_config(kind: type[Options], path: Path | None, overrides: Mapping[str, Any]) -> Options:
    """Read a YAML file (or none) and lay ``overrides`` (flags) over it.

    A file may begin with ``extends: other.yaml``, a path from where it lies: what it says itself wins.

    Raises:
        ConfigError: for a file that cannot be read or extends itself, unknown keys (with the valid ones),
            missing keys and values of the wrong type.
    """
    values: dict[str, Any] = {}
    where = "options"
    if path is not None:
        where = str(path)
        values = _read_yaml(path)
    return config_from_mapping(kind, values | dict(overrides), where)


def _read_yaml(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path.resolve() in extended_by:
        raise ConfigError(f"{path}: extends itself, by way of {len(extended_by)} files")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected 'key: value' lines, found {type(values).__name__}")
    if "extends" not in values:
        return values
    other = values.pop("extends")
    if not isinstance(other, str):
        raise ConfigError(f"{path}: extends must be the path of a YAML file, found {other!r}")
    return _read_yaml(path.parent / other, (*extended_by, path.resolve())) | values


def config_from_mapping(kind: type[Options], values: Mapping[str, Any], where: str) -> Options:
    """Build the options; ``where`` begins every error message."""
    types = get_type_hints(kind)
    unknown = sorted(str(key) for key in values if key not in types)
    if unknown:
        raise ConfigError(f"{where}: unknown key {', '.join(unknown)}; valid: {', '.join(sorted(types))}")
    return kind(**{key: _coerce(types[key], value, f"{where}: {key}") for key, value in values.items()})


def _coerce(wanted: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type; YAML reads 2e-5 as text and a lone path as no list."""
    if get_origin(wanted) in (Union, UnionType):
        if value is None:
            return None
        wanted = next(t for t in get_args(wanted) if t is not NoneType)
    if get_origin(wanted) is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_coerce(get_args(wanted)[0], item, where) for item in items)
    if wanted is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    elif wanted is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            pass
    elif wanted is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    elif isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    valid = "true or false" if wanted is bool else wanted.__name__
    raise ConfigError(f"{where} must be {valid}, found {value!r}")


def config_to_yaml(config: DataclassInstance) -> str:
    """The options as a YAML file that ``read_config`` reads back."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def differences(old: Options, new: Options, incidental: Sequence[str]) -> list[str]:
    """``name: old -> new`` for every option but the ``incidental`` ones."""
    return [
        f"{f.name}: {getattr(old, f.name)} -> {getattr(new, f.name)}"
        for f in fields(new)
        if f.name not in incidental and getattr(old, f.name) != getattr(new, f.name)
    ]
