"""A clock without real waits."""

import time


class FastClock:
    """A clock that only `sleep` advances."""

    def __init__(self):
        self.at = time.time()

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds
