"""The version of the package (semver.org); the formats of files have numbers of their own, see `formats`."""

VERSION = "0.2.0"
