#!/bin/sh
# Names what the build needs of the system and cannot find. Everything else it brings itself.
missing=0
need() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "squall: '$1' is missing: $2" >&2
    missing=1
}
need cargo "install Rust 1.90 or newer from https://rustup.rs"
need cc "install a C compiler (Debian, Ubuntu: apt install build-essential)"
need c++ "install a C++ compiler (Debian, Ubuntu: apt install build-essential)"
need perl "OpenSSL is built with it (Debian, Ubuntu: apt install perl)"
need python3 "install Python 3 (Debian, Ubuntu: apt install python3 python3-venv)"
exit $missing
