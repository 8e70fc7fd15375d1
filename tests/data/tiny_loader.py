"""Load a source in its own process, which can be killed at a chosen moment.

The one argument is JSON: the fields of the source, the two folders, the report (or `fsync`) at
which the process kills itself, and the largest file that it may write.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from qnn_jax.data.fashion_mnist import load_images
from qnn_jax.data.source import Archive, Source


def main():
    fields, data_dir, manual_dir, kill_at, file_limit = json.loads(sys.argv[1])
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        fields[name] = Archive(**fields[name])
    for name in ("addresses", "class_names", "image_shape"):
        fields[name] = tuple(fields[name])

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def report(what, done, total):
        print(what, flush=True)
        if what == kill_at:
            die()

    if kill_at == "fsync":
        os.fsync = die
    load_images(Source(**fields), Path(data_dir), manual_dir and Path(manual_dir), report)
    print("loaded", sorted({"filelock", "jax", "tensorflow_datasets"} & sys.modules.keys()))


if __name__ == "__main__":
    main()
