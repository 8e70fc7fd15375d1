"""What the commands that use a quantum computer share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.flags import DataFlags, ResultsFlags
from qnn_jax.errors import TrainingFailedError
from qnn_jax.hardware.accounts import Where
from qnn_jax.runs import check_name
from qnn_jax.tasks.stored import newest_of_all, stored

if TYPE_CHECKING:
    from qnn_jax.tasks.trained import Trained
    from qnn_jax.training.task import Splits


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
    """The run that is named, else the newest; it is finished and whole.

    Raises:
        InputError: if there is none.
    """
    name = flags.run or newest_of_all(flags.results_dir)
    stored(flags.results_dir / name)
    return name


def loaded(flags: DeviceFlags) -> tuple[Trained, Splits]:
    """The run's model and its data."""
    from qnn_jax.data import progress_bar
    from qnn_jax.tasks import load

    trained = load(flags.path)
    folders = trained.folders.given(flags.data_dir, flags.manual_dir)
    with progress_bar() as progress:
        return trained, trained.splits(folders, progress)


def tell_dry() -> None:
    """Print that a dry run ends here."""
    print("Nothing was sent (--dry-run); the same command without it sends this.")


@contextmanager
def device_errors() -> Iterator[None]:
    """Report a device that did not deliver as a failure, in one sentence."""
    from qnn_jax.hardware.jobs import DeviceStoppedError, ServiceError

    try:
        yield
    except DeviceStoppedError as error:
        raise TrainingFailedError(str(error)) from None
    except ServiceError as error:
        raise TrainingFailedError(
            f"The service gave an unexpected answer ({error}); nothing is lost, run the same "
            "command again."
        ) from None
