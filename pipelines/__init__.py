"""The commands: each module is one make target and one `python -m pipelines.<name>`."""

import time

#: When the command began, by the clock that never runs backwards.
STARTED = time.monotonic()
