"""Channels and the noise of devices as values, and their simulation. No Qiskit here."""
