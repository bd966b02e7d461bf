#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Puts Debian 12's SoftHSM for arm64, and the libraries that it needs, under
# .cache/arm64, so that released executables for arm64 sign with it in an emulator.

set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/debian.sh
snapshot=20261115T000000Z

# SHA-256 and path, as in Debian 12's index.
packages() {
  cat <<'END'
01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4 pool/main/g/glibc/libc6_2.36-9+deb12u14_arm64.deb
576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3 pool/main/g/gcc-12/libgcc-s1_12.2.0-14+deb12u1_arm64.deb
26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2 pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_arm64.deb
a256e03cc3abd7243ac5c6ee91a9deb56478221ef0d3c2b0748551e13140c0bf pool/main/o/openssl/libssl3_3.0.20-1~deb12u2_arm64.deb
a113aa55fa0b1f0e0857e820598f5f01b2be872b6e635401e0bb7016d82aa6e4 pool/main/s/softhsm2/libsofthsm2_2.6.1-2.1_arm64.deb
END
}

fill() {
  while read -r sum path; do
    download_deb "$sum" "$path" "$1/package.deb"
    dpkg-deb --extract "$1/package.deb" "$1"
  done < <(packages)
  rm "$1/package.deb"
}
once arm64 fill
