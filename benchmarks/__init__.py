"""Lightfast beside its peers: ``python -m benchmarks --help``. No part of the package that users install."""
