"""Public names that load on first use, so that importing a package stays light."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy(
    package: str,
    modules: Mapping[str, Sequence[str]],
    extra: str = "",
    submodules: Sequence[str] = (),
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    Args:
        package: its name.
        modules: public names by the module of the package that defines them.
        extra: the optional dependencies that the package needs, as pip names them.
        submodules: modules and packages of the package that are public themselves.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            if not extra or error.name is None or error.name.partition(".")[0] == "qnn_jax":
                raise
            raise ModuleNotFoundError(
                f"`{package}.{name}` needs the package {error.name!r}, which is not installed; "
                f"pip install 'qnn-jax[{extra}]' installs it.",
                name=error.name,
            ) from error

    return get, lambda: sorted([*homes, *submodules]), sorted(homes)
