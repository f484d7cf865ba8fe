"""Finds the application that the settings name."""

from __future__ import annotations

import importlib

from halfbeat.application import Application
from halfbeat.errors import InvalidRequest


def load_application(path: str) -> Application:
    """The attribute `app` of a module, or of its submodule `app`.

    Raises:
        InvalidRequest: There is no such module, or no application in it.
    """
    for name in (path, f"{path}.app"):
        try:
            found = getattr(importlib.import_module(name), "app", None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            continue
        if isinstance(found, Application):
            return found
    raise InvalidRequest(f"no application at {path!r}: a module with `app = Application(...)` is wanted")
