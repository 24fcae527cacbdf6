"""Studies: reproducible, resumable tables of many trained models."""
