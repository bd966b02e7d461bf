#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Puts the C libraries of Debian 11 (glibc 2.31) for amd64 and arm64 under
# .cache/sysroot, to link the released executables against. A program runs on
# the glibc that it was linked against and on later ones; one that is linked on
# a machine of today does not start on Debian 11, Ubuntu 20.04 or RHEL 8. Only
# headers, start-up code and lists of symbols are taken: the libraries don't go
# into the executables.

set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/debian.sh
snapshot=20241101T000000Z

# SHA-256 and path, as in the index of Debian 11's last point release.
packages() {
  cat <<'END'
05f7264da867b37f4c5ce49266b558ea1e81e05a9464f623152fca70f3550282 amd64 pool/main/g/glibc/libc6_2.31-13+deb11u11_amd64.deb
e7f7b45d9c5cfcf37609f0b6efd3c645272c812144703af89dfd32218fcb0fd3 amd64 pool/main/g/glibc/libc6-dev_2.31-13+deb11u11_amd64.deb
e3be603bd12377bb90fcfb0f2048ca3a81c886e49d6f09945b82159d1c54f7b2 amd64 pool/main/l/linux/linux-libc-dev_5.10.223-1_amd64.deb
baaa9aa184e2f21738c5819055e6740cc5b22f198e3f416e33f82b40ff6933d8 arm64 pool/main/g/glibc/libc6_2.31-13+deb11u11_arm64.deb
28d478134722dcd4b0bd2045a199301d18713bf95947b9fce66634e7aeacab2e arm64 pool/main/g/glibc/libc6-dev_2.31-13+deb11u11_arm64.deb
8b6374a64412d33eac61d74f77b8f932da4b8a707ea8a614791e2a35b8917618 arm64 pool/main/l/linux/linux-libc-dev_5.10.223-1_arm64.deb
END
}

fill() {
  while read -r sum arch path; do
    mkdir -p "$1/$arch"
    download_deb "$sum" "$path" "$1/package.deb"
    dpkg-deb --extract "$1/package.deb" "$1/$arch"
  done < <(packages)
  rm "$1/package.deb"

  # Links such as libdl.so point to /lib on the machine that they are installed on.
  find "$1" -type l -lname '/*' | while read -r link; do
    root=${link#"$1"/}
    root=$1/${root%%/*}
    ln -sfn "$(realpath --no-symlinks --relative-to "$(dirname "$link")" "$root$(readlink "$link")")" "$link"
  done
}

# The compilers are given the link.
once sysroot fill
