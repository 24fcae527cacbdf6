"""Studies: tables of many trained models that anybody can rerun, stop and continue."""
