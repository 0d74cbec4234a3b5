"""Settings of one run, from LangGraph's context: only what is meant for GSI counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from gsi_node.errors import ConfigError, shown
from gsi_node.step.config import GSIConfig
from gsi_node.step.fields import Settings, about
from gsi_node.types import Plain


def _overridable() -> dict[str, Any]:
    """Those fields of the settings that one run may override, each of its own type or None."""
    hints = get_type_hints(Settings, include_extras=True)
    return {
        name: (Optional[hint], Field(None, description=about(name).help))  # noqa: UP045
        for name, hint in hints.items()
        if name in Settings.model_fields and about(name).override
    }


_Overrides: Any = create_model("_Overrides", __config__=ConfigDict(frozen=True, extra="forbid"), **_overridable())


class GSIContext(_Overrides):  # type: ignore[misc]  # its fields are those of the settings, and one
    """GSIConfig fields overridden for one run through LangGraph's `context`; None leaves the compiled setting.

    fork: a run that goes on at a checkpoint goes on under these instead of those it was begun with.
    """

    fork: bool | None = Field(None, description="go on at a checkpoint under these settings instead of its own")


def given_context(context: object, schema: type | None) -> object:
    """A caller's own `context=`, for a graph compiled for `schema`: where that is GSIContext, None or a GSIContext.

    Raises ConfigError: an unknown key or a wrong value, named; an object that is neither a GSIContext nor a mapping.
    """
    if context is None or schema is not GSIContext:
        return context
    return read_context(context, "context")


def overrides_in(context: object) -> Plain:
    """The GSI settings in a run's context: of a GSIContext, or of what stands under `gsi` in a parent graph's context.

    That is the key `gsi` of a mapping and the attribute `gsi` of any other object; the rest is the parent's own affair,
    whatever its names. Raises ConfigError for what stands under `gsi` and is no GSIContext and no mapping of its keys.
    """
    own = _own(context)
    return {name: value for name in _Overrides.model_fields if (value := getattr(own, name, None)) is not None}


def forks(context: object) -> bool:
    """Whether a run's context asks to go on under its settings instead of the checkpoint's."""
    return bool(getattr(_own(context), "fork", None))


def _own(context: object) -> GSIContext | None:
    if isinstance(context, GSIContext):
        return context
    found = context.get("gsi") if isinstance(context, Mapping) else getattr(context, "gsi", None)
    return None if found is None else read_context(found, "context: gsi")


def overridden(config: GSIConfig, overrides: Plain) -> GSIConfig:
    """The configuration with a run's overrides, validated. Raises ConfigError naming the field."""
    if not overrides:
        return config
    try:
        return GSIConfig.model_validate({**config.model_dump(), **overrides})
    except ValidationError as error:
        raise ConfigError(f"context: {_mistakes(error)}") from error


def read_context(found: object, where: str) -> GSIContext:
    """Settings of one run. Raises ConfigError for what is no GSIContext and no mapping of its keys."""
    if isinstance(found, GSIContext):
        return found
    if not isinstance(found, Mapping):
        raise ConfigError(f"{where}: want a GSIContext or a mapping of its keys, got {shown(found)}")
    try:
        own: GSIContext = GSIContext.model_validate(dict(found))
    except ValidationError as error:
        raise ConfigError(
            f"{where}: {_mistakes(error)}. GSI's own keys are {', '.join(GSIContext.model_fields)}; a parent graph's "
            "context has them under 'gsi'"
        ) from error
    return own


def _mistakes(error: ValidationError) -> str:
    return "; ".join(
        f"{shown('.'.join(map(str, mistake['loc']))) + ': ' if mistake['loc'] else ''}{mistake['msg']}"
        f"{', got ' + shown(mistake['input']) if mistake['loc'] else ''}"
        for mistake in error.errors(include_url=False)
    )
