"""Objects of checked values that people make in Python, too: what is wrong with one is said in one line."""

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from segkit.errors import UsageError
from segkit.one_line import found_there


class Checked(BaseModel):
    """What is made of checked values and doesn't change; UsageError for the first of them that can't be."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, (type(self).__name__, *fault["loc"])))
            message = fault["msg"].removeprefix("Value error, ")
            raise UsageError(f"{where}: {message[0].lower()}{message[1:]}{found_there(fault['input'])}") from None

    # Where such an object is a part of another one, or of a file, that one's error is told, with the way to the value.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic's mark
