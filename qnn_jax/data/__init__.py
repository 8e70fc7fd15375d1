"""Data to train on: Fashion-MNIST from its official archives, every byte verified."""

from qnn_jax.data.dataset import ImageDataset, class_numbers
from qnn_jax.data.fashion_mnist import load_fashion_mnist
from qnn_jax.data.progress import progress_bar
from qnn_jax.data.source import FASHION_MNIST, Report

__all__ = [
    "FASHION_MNIST",
    "ImageDataset",
    "Report",
    "class_numbers",
    "load_fashion_mnist",
    "progress_bar",
]
