"""The error that speaks to the user."""


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one sentence that names the argument, the rule, the value and the way out:
    ``Argument `shots` must be at least 1, but is 0.`` Pipelines print it without a traceback and
    exit with status 2; any other exception is a fault of ours and keeps its traceback.
    """


class LargeAngleWarning(UserWarning):
    """Angles are so large that their floating-point numbers have few decimals left.

    Results may be wrong in the second or third decimal. Given where values are known: outside
    `jax.jit` and JAX's other transformations, once a circuit.
    """


class TrainingFailedError(Exception):
    """Training cannot go on, through no fault of the input: one sentence, exit status 1."""
