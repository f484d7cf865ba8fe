"""A tool of an application: a typed Python function that the model may call, and every way in which that can fail."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from halfbeat import errors
from halfbeat.call import Call

#: Calls a tool may receive besides its arguments: the present call, always as first parameter.
ToolFunction = Callable[..., Any]


class ToolError(errors.ToolFailed):
    """A tool call that gave no result: `kind` names the reason in counters, `tool` the name asked for."""

    kind = "failed"

    def __init__(self, tool: str, detail: str = "") -> None:
        super().__init__(f"{tool}: {detail}" if detail else tool)
        self.tool = tool
        self.detail = detail


class UnknownTool(ToolError):
    """The application has no tool of that name."""

    kind = "unknown"


class ToolClosed(ToolError):
    """The tool exists, but the state of the call does not allow it now."""

    kind = "closed"


class InvalidArguments(ToolError):
    """The arguments are not JSON or do not fit the tool's types."""

    kind = "invalid_arguments"


class ToolFailed(ToolError):
    """The tool raised; the cause is chained."""

    kind = "raised"


class ToolTimedOut(ToolError):
    """The tool gave no result within its deadline."""

    kind = "timed_out"


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives back.

    Attributes:
        data: For the model and the log; JSON values.
        say: The exact words to speak, where the facts must be right. Without it the model phrases the answer.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    say: str | None = None


@dataclass(frozen=True)
class Tool:
    """A function that the model may call.

    Attributes:
        name: The function's name.
        label: One word for it, for small models that pick a word instead of calling a function.
        description: First paragraph of its docstring, shown to the model: when to call it.
        schema: JSON schema of its arguments.
        deadline_s: Longest time it may take, in seconds.
        cancel_on_barge_in: Whether the caller's barge-in cancels it. False for what must not be half done.
        filler: Spoken when the result takes long; None leaves it to the application, an empty one is none.
        opener: First words of the answer, said before the tool runs; of the call as it would be.
        says: All that is said before the tool runs, word for word; None where that is not known beforehand.
        when: Whether it is open in the present state of the call.
        is_meant: Whether the caller's words ask for it for sure: while it is open the model has no other choice.
    """

    name: str
    label: str
    description: str
    schema: Mapping[str, Any]
    deadline_s: float
    cancel_on_barge_in: bool
    filler: str | None
    opener: Callable[[Call], str | None]
    says: str | None
    when: Callable[[Call], bool]
    is_meant: Callable[[Call], bool]
    function: ToolFunction
    arguments: type[BaseModel]

    def parse(self, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
        """Validated arguments, from JSON text or a mapping.

        Raises:
            InvalidArguments: They are no JSON object or do not fit the types.
        """
        try:
            if isinstance(arguments, str):
                model = self.arguments.model_validate_json(arguments or "{}")
            else:
                model = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = f"{where}: {first['msg']}" if where else first["msg"]
            raise InvalidArguments(self.name, reason) from None  # the other quotes what the caller said, also in logs
        return {name: getattr(model, name) for name in type(model).model_fields}


def arguments_model(function: ToolFunction) -> type[BaseModel]:
    """A pydantic model of the parameters after the first one, which is the call."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise ValueError(f"tool {function.__name__} takes the call as first parameter")
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in parameters[1:]
    }
    model: type[BaseModel] = create_model(
        function.__name__, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields
    )
    return model
