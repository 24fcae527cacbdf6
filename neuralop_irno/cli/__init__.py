"""The command line: ``irno demo | train | evaluate | list``."""
