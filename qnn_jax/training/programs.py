"""Jitted programs whose arguments are checked before JAX gets them, and the checks of training."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.circuits.checks import at_least, shown
from qnn_jax.errors import InputError
from qnn_jax.training.task import Examples

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Program(Generic[_P, _R]):
    """A jitted function; a call first checks the arguments, for messages of this library.

    Attributes:
        jitted: the function without checks.
    """

    def __init__(self, check: Callable[[dict[str, Any]], None], jitted: Any) -> None:
        self._of_names, self.jitted = check, jitted
        self.__doc__, self.__name__ = jitted.__doc__, jitted.__name__
        self.__wrapped__: Callable[_P, _R] = jitted.__wrapped__
        self._signature = inspect.signature(self.__wrapped__)

    def _checked(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.__name__}(): {error}") from None
        bound.apply_defaults()
        self._of_names(bound.arguments)
        return bound.args, bound.kwargs

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Check and run."""
        positional, named = self._checked(*args, **kwargs)
        result: _R = self.jitted(*positional, **named)
        return result

    def lower(self, *args: Any, **kwargs: Any) -> Any:
        """Check and lower, to compile ahead of time."""
        positional, named = self._checked(*args, **kwargs)
        return self.jitted.lower(*positional, **named)

    def trace(self, *args: Any, **kwargs: Any) -> Any:
        """Check and trace, to inspect the program."""
        positional, named = self._checked(*args, **kwargs)
        return self.jitted.trace(*positional, **named)


def program(
    check: Callable[[dict[str, Any]], None], **options: Any
) -> Callable[[Callable[_P, _R]], Program[_P, _R]]:
    """`jax.jit` with these options, after a check of the arguments by their names.

    The check may replace arguments, so that a number is static whatever type it has.
    """
    return lambda function: Program(check, jax.jit(function, **options))


def checked_array(name: str, value: Any, what: str, kind: Any, ndim: tuple[int, int]) -> Any:
    """Check that `value` is a JAX or NumPy array of a kind of dtype; its values are not read.

    `what` is the rule as text, `kind` of dtypes is as in `jnp.issubdtype`, `ndim` the least and the
    most axes.
    """
    array = isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
    array = array and not isinstance(value, np.ma.MaskedArray)
    if not array or not jnp.issubdtype(value.dtype, kind) or not ndim[0] <= value.ndim <= ndim[1]:
        found = shown(value)
        if array:
            found = f"an array of dtype {value.dtype} and shape {value.shape}"
        raise InputError(f"Argument `{name}` must be {what}, but is {found}.")
    return value


def check_inputs(inputs: Any, name: str = "inputs") -> None:
    """Check the examples of a network; the network checks their shape itself."""
    checked_array(name, inputs, "an array of examples, shape (count, …)", np.number, (2, 9))


def check_examples(name: str, examples: Any) -> None:
    """Check that there are inputs with a target each."""
    rule = "Examples of arrays (inputs, targets)"
    if not isinstance(examples, Examples):
        raise InputError(f"Argument `{name}` must be {rule}, but is {shown(examples)}.")
    inputs, targets, weights = examples
    checked_array(name, inputs, rule, np.number, (2, 9))
    checked_array(name, targets, rule, np.number, (1, 1))
    if len(inputs) != len(targets):
        raise InputError(
            f"Argument `{name}` must have a target for each input, but has {len(inputs)} inputs "
            f"and {len(targets)} targets."
        )
    if weights is not None:
        checked_array(f"{name}.weights", weights, "an array of weights", np.floating, (1, 1))
        if weights.shape != targets.shape:
            raise InputError(
                f"Argument `{name}.weights` must have shape {targets.shape}, one for each target, "
                f"but has {weights.shape}."
            )


def check_epoch(epoch: Any) -> None:
    """Check the number of an epoch; it may be traced."""
    if not isinstance(epoch, jax.core.Tracer | jax.ShapeDtypeStruct):
        at_least("epoch", epoch, 0, 2**31 - 1)
    else:
        checked_array("epoch", epoch, "an integer of at least 0", np.integer, (0, 0))
