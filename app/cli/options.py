"""Options of a command from the fields of a pydantic model."""

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from pydantic import BaseModel


def options_of(model: type[BaseModel]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds an option for each field to a command, whose first argument is the dict of the values that are not None.

    The command checks the bounds of the values.
    """
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=Annotated[
                field.annotation, typer.Option(help=field.description, show_default=field.default is not None)
            ],
        )
        for name, field in model.model_fields.items()
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        _, *others = inspect.signature(command).parameters.values()
        parameters = [*options, *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in others)]

        def with_options(**given: Any) -> None:
            values = {name: given.pop(name) for name in model.model_fields}
            command({name: value for name, value in values.items() if value is not None}, **given)

        functools.update_wrapper(with_options, command)
        # Typer reads the signature and the annotations, and follows __wrapped__ where it finds it.
        vars(with_options).pop("__wrapped__")
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        vars(with_options)["__signature__"] = inspect.Signature(parameters)
        return with_options

    return decorate
