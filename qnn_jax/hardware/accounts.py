"""Select a device: an IBM machine or a simulated one. One never replaces the other silently.

The checks load neither JAX nor Qiskit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.errors import InputError
from qnn_jax.hardware.redaction import environment_token

#: The simulated backend that is used if nothing is named and there is no account.
DEFAULT = "FakeFez"


class Where(NamedTuple):
    """A device by name.

    Attributes:
        backend: an IBM machine, "least-busy", or "auto": least-busy if there is an account,
            else a simulated FakeFez. "Fake..." simulates that machine.
        instance: name or CRN of the IBM Quantum instance; by default QISKIT_IBM_INSTANCE.
        url: of the service; by default QISKIT_IBM_URL, else IBM's.
    """

    backend: str = "auto"
    instance: str | None = None
    url: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether the device is simulated: a fake backend, or "auto" without an account."""
        if self.backend != "auto":
            return self.backend.startswith("Fake")
        asked = (
            self.instance
            or self.url
            or os.environ.get("QISKIT_IBM_INSTANCE")
            or os.environ.get("QISKIT_IBM_URL")
        )
        return not asked and not _has_account()

    def check(self) -> None:
        """Check the arguments.

        Raises:
            InputError: for an unknown fake backend, or a machine without an account.
        """
        if self.backend.startswith("Fake"):
            check_fake_backend(self.backend, "backend")
            if self.instance or self.url:
                raise InputError(
                    "Argument `backend` must name an IBM machine if an instance or a URL is given, "
                    f"but is {self.backend!r}, which is simulated here."
                )
        elif not self.simulated and not _has_account():
            raise InputError(
                "Argument `backend` must come with an IBM Quantum account where a machine, an "
                f"instance or a URL is named, but is {self.backend!r} and there is no token: put "
                "one into QISKIT_IBM_TOKEN, or simulate the machine with backend "
                f"{_simulated(self.backend)}."
            )

    def open(
        self, seed: int = 0, fractional_gates: bool = False, planned: str | None = None
    ) -> Any:
        """Return the device; logs in if it is an IBM machine.

        Args:
            seed: random seed of a simulated device.
            fractional_gates: let a machine use its RX and RZZ gates, if it has them.
            planned: the device of an earlier plan, which is used again.

        Raises:
            InputError: as in `check`, or if the machine cannot be reached.
        """
        self.check()
        if self.simulated:
            return simulated(planned or (DEFAULT if self.backend == "auto" else self.backend), seed)
        named = None if self.backend in ("auto", "least-busy") else self.backend
        return self.machine(planned or named, fractional_gates)

    def machine(self, name: str | None, fractional_gates: bool = False) -> Any:
        """Connect to an IBM machine; None is the least busy one."""
        from qnn_jax.hardware.ibm import connect

        return connect(name, self.instance, self.url, fractional_gates)


def simulated(name: str, seed: int = 0) -> Any:
    """Return a simulated device."""
    from qnn_jax.hardware.fake_device import FakeDevice

    return FakeDevice(name, seed)


def introduction(device: Any) -> str:
    """One line on the device, which distinguishes a simulation from a real machine."""
    if not device.simulated:
        when = device.calibration_date or "at an unknown time"
        return f"QUANTUM COMPUTER: {device.name}, calibrated {when}."
    return (
        f"SIMULATED: {device.name}, IBM's snapshot of {device.calibration_date} with its noise, on "
        "this machine. No quantum computer is used and nothing is paid."
    )


def _has_account() -> bool:
    """Whether there is a token or a saved account (IBM's client leaves files without any)."""
    if environment_token():
        return True
    saved = Path(os.path.expanduser("~")) / ".qiskit/qiskit-ibm.json"
    try:
        return saved.is_file() and bool(json.loads(saved.read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"File {saved} must hold saved IBM Quantum accounts as JSON, but cannot be read: "
            "delete it, or put a token into QISKIT_IBM_TOKEN."
        ) from None


def _simulated(backend: str) -> str:
    """The fake backend for an IBM machine: `FakeFez` for `ibm_fez`."""
    name = "Fake" + "".join(part.capitalize() for part in backend.split("_")[1:])
    try:
        return check_fake_backend(name, "backend")
    except InputError:
        return DEFAULT
