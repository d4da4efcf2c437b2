"""The options of ``lightfast serve``, made from the settings, so that none is described twice."""

from __future__ import annotations

from inspect import Parameter
from typing import Annotated, Any, Literal, get_origin

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from lightfast.settings import Settings
from lightfast.units import format_size


def describe(name: str) -> str:
    """What the setting ``name`` is."""
    return str(Settings.model_fields[name].description)


def environment(name: str) -> str:
    """The environment variable of the setting ``name``."""
    return f"{Settings.model_config['env_prefix']}{name.upper()}"


def default_of(name: str) -> str:
    """The default of the setting ``name`` as one would write it; empty where there is none."""
    field = Settings.model_fields[name]
    match field.default:
        case None:
            return ""
        case bool():
            return "on" if field.default else "off"
        case float() if _has_unit(field):
            return f"{field.default:g}s"
        case int() if _has_unit(field):
            return format_size(field.default)
        case tuple():
            return " ".join(map(str, field.default))
        case dict():
            return ""
        case other:
            return str(other)


def setting_options() -> list[Parameter]:
    """One option for each setting, ``None`` where it isn't given. Its text goes to ``load_settings`` unread."""
    return [_option(name, field) for name, field in Settings.model_fields.items()]


def _option(name: str, field: FieldInfo) -> Parameter:
    flag = name.replace("_", "-")
    kind: Any = field.annotation  # a type or a special form
    as_it_is = kind is bool or get_origin(kind) is Literal
    option = typer.Option(
        f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}",
        envvar=environment(name),
        help=field.description,
        metavar=None if as_it_is else _metavar(field),
        show_default=default_of(name) or False,
    )
    text: Any = (kind if as_it_is else str) | None
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[text, option])


def _metavar(field: FieldInfo) -> str:
    if _has_unit(field) and field.annotation in (int, float):
        return "SIZE" if field.annotation is int else "DURATION"
    return "NUMBER" if field.annotation in (int, int | None, float) else "TEXT"


def _has_unit(field: FieldInfo) -> bool:
    """Whether the setting is read from text like ``50MiB`` or ``2h``."""
    return any(isinstance(item, BeforeValidator) for item in field.metadata)
