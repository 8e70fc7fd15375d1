"""What an OpenQASM text may ask for, whatever its version: checked before anything is built."""

from __future__ import annotations

from qnn_jax.circuits.checks import MAX_GATES as MAX_GATES
from qnn_jax.circuits.checks import MAX_QUBITS as MAX_QUBITS

#: Bits of all registers together, of which a circuit may have more than qubits.
MAX_BITS = 10_000
#: Longer texts are refused unread: parsing OpenQASM 3 takes a minute for some million characters.
MAX_CHARACTERS = 10_000_000
#: Numbers, inputs and operations in all angles together.
MAX_TERMS = 2_000_000
#: Brackets within brackets, and gates that call gates. The parsers and the readers recurse.
MAX_NESTING = 50
#: Operators in one statement of OpenQASM 2: Qiskit's parser ends the process at a million.
MAX_OPERATORS = 10_000


class Wrong(Exception):  # noqa: N818
    """What is wrong with a text, in words; the reader adds the place and raises an InputError."""


def check_size(what: str, number: int, most: int) -> None:
    """Refuse more than `most` qubits, bits or gates."""
    if number > most:
        found = f"{number:,}" if number < 10**12 else "so many"
        raise Wrong(f"{found} {what} are more than the {most:,} that can be read")
