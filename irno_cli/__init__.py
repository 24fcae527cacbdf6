"""The command line: ``irno demo | train | check | evaluate | rollout | diagnose | study | list``."""
