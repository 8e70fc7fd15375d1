"""Call the public API with wrong values; any other exception than InputError is a finding."""

from __future__ import annotations

import argparse
import faulthandler
import json
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from public_calls import BROKEN, CALLS, COSTLY, Call, Make
from qiskit.quantum_info import SparsePauliOp
from wrong_values import POOL, TRACED, Kind

from qnn_jax.errors import InputError

#: Time limit of a call, independent of the machine's load: Python code is interrupted.
#: After the second time, on the clock, the whole process ends with a traceback.
HANG, LOST = 20.0, 240.0
#: The longest message: one sentence with one value in it.
LONGEST = 1000


def arguments(call: Call) -> dict[str, Any]:
    return {
        name: value.value() if isinstance(value, Make) else value
        for name, (value, _) in call.arguments.items()
    }


def outcome(function: Callable[..., Any], given: dict[str, Any]) -> tuple[str, Any]:
    """("answered", the result), ("refused", the message), or ("foreign", the exception)."""
    faulthandler.dump_traceback_later(LOST, exit=True)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        return "answered", function(**given)
    except InputError as error:
        return "refused", str(error)
    except Exception as error:
        return "foreign", error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def _interrupted(*_: object) -> None:
    raise TimeoutError(f"no answer within {HANG} s")


def judge(call: Call, name: str, kind: Kind, value: Any, function: Callable[..., Any]) -> str:
    """What is wrong with the outcome of a value for one argument; empty if nothing is."""
    try:
        legal = kind.legal(value)
    except Exception as error:
        return f"the table fails: {error!r}"
    if callable(value) and isinstance(value, type | SparsePauliOp) and legal is None:
        return ""  # exceptions of a class or an operator that is called are allowed
    begin = time.process_time()
    how, found = outcome(function, {**arguments(call), name: value})
    if how == "foreign":
        ours = "raised by the user's function" in str(found)
        return "" if ours else f"ended in {type(found).__name__}: {str(found)[:200]}"
    if how == "answered":
        return "was accepted" if legal is False else ""
    if legal is True:
        return f"was refused, although it is legal: {found}"
    # A value that is legal by itself may be refused together with another argument.
    known = (name, *kind.names) if legal is False else (*call.arguments, name, *kind.names)
    if not any(f"`{one}`" in found or f"`{one}." in found for one in known):
        return f"was refused without the name of the argument: {found}"
    if "\n" in found or len(found) > LONGEST:
        return f"was refused at length: {found[:200]}"
    if (spent := time.process_time() - begin) > 5:
        return f"was refused after {spent:.1f} s: {found}"
    return ""


def under_a_trace(call: Call, name: str, kind: Kind, shape: Any, quick: bool) -> str:
    """The same for a traced value."""
    found = ""

    def traced(value: Any) -> float:
        nonlocal found
        if not quick or kind.legal(value) is False:
            found = judge(call, name, kind, value, call.function)
        return 0.0

    jax.eval_shape(traced, shape)
    return found


def same(call: Call, name: str, kind: Kind) -> Iterator[tuple[str, str]]:
    """Other forms of the valid value must give the result of the valid value."""
    how, wanted = outcome(call.function, arguments(call))
    if how != "answered":
        yield "the valid call", f"failed: {wanted!r}"
        return
    for form in kind.forms(arguments(call)[name]):
        how, found = outcome(call.function, {**arguments(call), name: form})
        what = f"{type(form).__name__} {getattr(form, 'dtype', '')}"
        if how != "answered":
            yield what, f"{how}: {str(found)[:300]}"
        elif not equal(found, wanted):
            yield what, f"gave {str(found)[:100]} for {str(wanted)[:100]}"


def equal(one: Any, other: Any) -> bool:
    """Equal up to float32's rounding, leaf by leaf."""
    left, right = jax.tree.leaves(one), jax.tree.leaves(other)
    return len(left) == len(right) and all(map(_equal, left, right))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray | jax.Array | float):
        if isinstance(one, jax.Array) and jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
            return True
        return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool(one == other) or type(one).__eq__ is object.__eq__


def findings(title: str, call: Call, quick: bool = False, every: int = 1) -> Iterator[str]:
    """A line for every finding.

    Args:
        title: the call's name in the table.
        call: with its arguments.
        quick: only values that must be refused.
        every: only each `every`-th value, beginning elsewhere for each argument.
    """
    for k, (name, (_, kind)) in enumerate(call.arguments.items(), start=len(title)):
        for what, wrong in () if quick else same(call, name, kind):
            yield f"{title}({name}=…): {what} {wrong}"
        for label, make in list(POOL.items())[k % every :: every]:
            if quick and kind.legal(make()) is not False:
                continue
            if wrong := judge(call, name, kind, make(), call.function):
                yield f"{title}({name}={label}): {wrong}"
        for label, shape in TRACED.items():
            if wrong := under_a_trace(call, name, kind, shape, quick):
                yield f"{title}({name}={label}): {wrong}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a quarter of the values")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _interrupted)
    begin = time.perf_counter()
    for title, call in CALLS.items():
        if given.only not in title:
            continue
        at = time.perf_counter()
        costly, every = (title in COSTLY, 4) if given.quick else (False, 1)
        for line in findings(title, call, costly, every):
            print(json.dumps(line), flush=True)
        if (spent := time.perf_counter() - at) > 0.5:
            print(f"{title}: {spent:.1f} s", file=sys.stderr)
    global HANG
    HANG = 0.02
    for title, call in BROKEN.items():
        for line in findings(title, call):
            print(json.dumps(line), flush=True)
    print(
        f"{time.perf_counter() - begin:.1f} s, {time.process_time():.1f} s of it computing",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
