#!/bin/sh
# Stands between cargo and the compiler in `make check-memory`: squall, not what it depends on, with AddressSanitizer, which is an
# unstable option, so that the stable compiler is asked to be lenient.
rustc=$1
shift
RUSTC_BOOTSTRAP=1 exec "$rustc" -Zsanitizer=address "$@"
