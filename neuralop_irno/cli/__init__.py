"""The command line: ``irno demo | train | evaluate | diagnose | list``."""
