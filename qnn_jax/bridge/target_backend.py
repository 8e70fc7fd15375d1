"""A backend that circuits are transpiled for, and that runs none."""

from __future__ import annotations

from typing import Any

from qiskit.providers import BackendV2, Options
from qiskit.transpiler import Target


class TargetBackend(BackendV2):  # type: ignore[misc]
    """A target with a name: all that `transpile` and Aer's noise models need of a backend.

    `translation` is the plugin that translates into its gates; None for Qiskit's own.
    """

    def __init__(
        self,
        target: Target,
        name: str,
        version: str | None = None,
        translation: str | None = None,
    ) -> None:
        super().__init__(name=name, backend_version=version)
        self._target = target
        self._translation = translation

    @property
    def target(self) -> Target:
        """The gates, errors and durations."""
        return self._target

    @property
    def max_circuits(self) -> None:
        """No bound."""
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def get_translation_stage_plugin(self) -> str | None:
        """What Qiskit's transpiler asks a backend for."""
        return self._translation

    def run(self, run_input: Any, **options: Any) -> Any:
        """Refuse to run."""
        raise NotImplementedError(f"{self.name} is a description; it runs no circuits.")
