"""The commands: each module is one make target and one `python -m pipelines.<name>`."""

import os
import signal
import sys
import time

#: When the command began, by a monotonic clock.
STARTED = time.monotonic()

# Python sets this to "-m" while it looks for the command to run; other imports set no signals.
if sys.argv[:1] == ["-m"]:
    # Until `command.run` takes over: Ctrl-C during imports must not give a traceback.
    for _number, _status in ((signal.SIGINT, 130), (signal.SIGTERM, 75)):
        if signal.getsignal(_number) is not signal.SIG_IGN:
            signal.signal(_number, lambda *_, status=_status: os._exit(status))
