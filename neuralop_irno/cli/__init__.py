"""The command line: ``irno demo | train | evaluate | rollout | diagnose | list``."""
