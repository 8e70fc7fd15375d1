"""Figures and HTML pages of results, for any task."""

from qnn_jax.report.run import write_run

__all__ = ["write_run"]
