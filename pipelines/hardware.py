"""What the commands that use a quantum computer share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines import command
from pipelines.flags import DataFlags, ResultsFlags
from qnn_jax.errors import InputError, TrainingFailedError
from qnn_jax.hardware.accounts import Where
from qnn_jax.runs import RunDirectory, check_name
from qnn_jax.tasks.stored import newest_of_all, stored

if TYPE_CHECKING:
    from qnn_jax.hardware.twin import DeviceTwin


Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class DeviceFlags(DataFlags, ResultsFlags):
    """The run and the device."""

    run: str | None = None
    """Name of the run; default: the newest finished run."""
    backend: str = "auto"
    """An IBM backend, "least-busy", or "auto": least-busy if there is an account, else a
    simulated FakeFez. "Fake..." simulates that machine."""
    instance: str | None = None
    """Name or CRN of the IBM Quantum instance; default: QISKIT_IBM_INSTANCE."""
    url: str | None = None
    """Of the service; default: QISKIT_IBM_URL, else IBM's."""

    @property
    def where(self) -> Where:
        """The requested device."""
        return Where(self.backend, self.instance, self.url)

    @property
    def path(self) -> Path:
        """The run's folder, once the run is chosen."""
        return self.results_dir / str(self.run)

    def check_device(self) -> None:
        """Check the run's name and the device's, without JAX and Qiskit."""
        if self.run is not None:
            check_name(self.run)
        self.where.check()


def chosen_run(flags: DeviceFlags) -> str:
    """The run that is named, else the newest; it is finished and whole."""
    name = flags.run or newest_of_all(flags.results_dir)
    stored(flags.results_dir / name)
    return name


def tell_dry() -> None:
    """Print that a dry run ends here."""
    print("Nothing was sent (--dry-run); the same command without it sends this.")


def settings_of(kind: type[Kind], flags: DeviceFlags) -> Kind:
    """The fields of a dataclass of settings among a command's flags; their ranges are checked."""
    given = dataclasses.asdict(flags)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: given[name] for name in names if name in given})


def check_twin(twin: DeviceTwin, device: Any, why: str, way_out: str = "") -> None:
    """Refuse another device than the twin's; warn if it was calibrated since."""
    if twin.content["device"] != device.name:
        raise InputError(
            f"Argument `backend` must be {twin.content['device']}, {why}, but is {device.name}"
            f"{way_out}."
        )
    warning = twin.age_warning(device.calibration_date)
    if warning:
        command.say(warning)


@contextmanager
def opened(flags: DeviceFlags) -> Iterator[RunDirectory]:
    """The run, locked; a device that does not deliver is reported in one sentence."""
    from qnn_jax.hardware.jobs import DeviceStoppedError, ServiceError

    try:
        with RunDirectory.existing(flags.results_dir, str(flags.run)) as run:
            yield run
    except DeviceStoppedError as error:
        raise TrainingFailedError(str(error)) from None
    except ServiceError as error:
        raise TrainingFailedError(
            f"The service gave an unexpected answer ({error}); nothing is lost, run the same "
            "command again."
        ) from None
