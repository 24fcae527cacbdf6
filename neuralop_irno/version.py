"""The version of the package, in the one place that states it."""

VERSION = "0.1.0"
