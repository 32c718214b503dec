"""What is measured on a GPU: ``gpu.sh`` runs all of it, ``report.py`` writes it down."""

from benchmarks.without_pydantic import install

install()  # before anything imports arnet.config
