# The output of uv pip compile without the packages whose build depends on the machine, under a header.
BEGIN {
    print "# Versions and hashes of the development environment, written by `make constraints`, for Python 3.11:"
    print "#     pip install --constraint constraints.txt torch"
    print "#     pip install --require-hashes --no-deps --requirement constraints-hashed.txt"
    print "#     pip install --no-deps --editable ."
    print "# Left out: torch and what its CUDA builds bring (triton, nvidia-*, cuda-*). Which build fits depends on the"
    print "# machine, and builds for CPUs have other hashes than those for CUDA."
}
/^[a-z]/ { kept = !/^(torch==|triton==|nvidia-|cuda-)/ }
kept
