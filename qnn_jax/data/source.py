"""A dataset of IDX archives: its addresses and the checksums of its bytes."""

import re
from collections.abc import Callable
from dataclasses import dataclass

Report = Callable[[str, int, int], None]
"""Called with progress: the activity, how much of it is done, the total (0: unknown)."""


def silent(*progress: object) -> None:
    """Ignore progress: the default of every callback that only reports."""


@dataclass(frozen=True)
class Archive:
    """One published gzip file: name, length in bytes, sha256 in hexadecimal."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """Four IDX archives with images and labels, and the addresses that offer them.

    `addresses` end with a slash and are tried in turn. `image_shape` is (height, width) in pixels.
    `contents_sha256` is over the uint8 bytes of training images, training labels, test images and
    test labels, in this order, without the IDX headers: every copy that is ever made of the data
    is held against this one number.
    """

    title: str
    addresses: tuple[str, ...]
    train_images: Archive
    train_labels: Archive
    test_images: Archive
    test_labels: Archive
    image_shape: tuple[int, int]
    train_count: int
    test_count: int
    class_names: tuple[str, ...]
    contents_sha256: str

    @property
    def archives(self) -> tuple[Archive, Archive, Archive, Archive]:
        """The four archives: training images and labels, test images and labels."""
        return self.train_images, self.train_labels, self.test_images, self.test_labels

    @property
    def archive_names(self) -> str:
        """The four file names as part of a sentence."""
        *first, last = (archive.name for archive in self.archives)
        return f"{', '.join(first)} and {last}"

    @property
    def folder(self) -> str:
        """The name of the folder for this data: no two sources of different contents share one."""
        return f"{re.sub('[^a-z0-9]+', '-', self.title.lower())}-{self.contents_sha256[:16]}"

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of training images and labels, test images and labels."""
        counts = self.train_count, self.test_count
        return tuple(shape for n in counts for shape in ((n, *self.image_shape), (n,)))


#: The official archives, with their sizes and checksums.
FASHION_MNIST = Source(
    title="Fashion-MNIST",
    addresses=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        # The authors' repository has the same four files.
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    train_images=Archive(
        "train-images-idx3-ubyte.gz",
        26_421_880,
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    train_labels=Archive(
        "train-labels-idx1-ubyte.gz",
        29_515,
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    test_images=Archive(
        "t10k-images-idx3-ubyte.gz",
        4_422_102,
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    test_labels=Archive(
        "t10k-labels-idx1-ubyte.gz",
        5_148,
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    image_shape=(28, 28),
    train_count=60_000,
    test_count=10_000,
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    contents_sha256="ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f",
)
"""Fashion-MNIST of Xiao, Rasul and Vollgraf (arXiv:1708.07747), MIT licence."""
