#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Writes the container image of the action's executable, as an OCI layout in a
# tar, beside the executables: image.sh RELEASE VERSION TIME. The base is Debian
# 12's C and C++ libraries, which vendors' modules need, its authorities for TLS,
# and no shell and no package manager.

set -euo pipefail
release=$(realpath "$1") version=$2 time=$3
script=$(realpath "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. packaging/debian.sh
snapshot=20261115T000000Z

# SHA-256, architecture of the image and path, as in Debian 12's index.
packages() {
  cat <<'END'
3eb1ea6d85488f488cc2a163b98ad640ef88cee4c79287cf14e361aaf6206f47 amd64 pool/main/b/base-files/base-files_12.4+deb12u15_amd64.deb
0d5f444f594e48c1e16a41d8fc628a09b24c658916a1274025c2330f2a802bed amd64 pool/main/c/ca-certificates/ca-certificates_20230311+deb12u1_all.deb
1896a2aacf4ad681ff5eacc24a5b0ca4d5d9c9b9c9e4b6de5197bc1e116ea619 amd64 pool/main/g/gcc-12/gcc-12-base_12.2.0-14+deb12u1_amd64.deb
ba4f88f73dbc3ae9055f3c20f4523bfdbaf1ad13ff95e258924f77d20b4fbedf amd64 pool/main/g/glibc/libc6_2.36-9+deb12u14_amd64.deb
3016e62cb4b7cd8038822870601f5ed131befe942774d0f745622cc77d8a88f7 amd64 pool/main/g/gcc-12/libgcc-s1_12.2.0-14+deb12u1_amd64.deb
5cd3171216d4ab0fc911cfe9c35509bf2dd8f47761c43b7f6a4296701551a24d amd64 pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_amd64.deb
b1272fbdc197f7d5bd22c05b741a03840f8bec66ca68c8d797f567ff2c99d42d arm64 pool/main/b/base-files/base-files_12.4+deb12u15_arm64.deb
0d5f444f594e48c1e16a41d8fc628a09b24c658916a1274025c2330f2a802bed arm64 pool/main/c/ca-certificates/ca-certificates_20230311+deb12u1_all.deb
674cf6cba6d432bd200c45fe866c1652c7a53523cc2e7a613e05bc4abf7b5440 arm64 pool/main/g/gcc-12/gcc-12-base_12.2.0-14+deb12u1_arm64.deb
01f4330719fd4f65580e16ea5a0527f372fca750e8f588d26deaf09f2d3b1cf4 arm64 pool/main/g/glibc/libc6_2.36-9+deb12u14_arm64.deb
576926b283613db80168ddf76380a3bd877602778cf0d226caa7bfbfa71eacf3 arm64 pool/main/g/gcc-12/libgcc-s1_12.2.0-14+deb12u1_arm64.deb
26e138c677a985775331373828a6c286c551ff397cb735d00e2383cb273d1cb2 arm64 pool/main/g/gcc-12/libstdc++6_12.2.0-14+deb12u1_arm64.deb
END
}

fill() {
  while read -r sum arch path; do
    mkdir -p "$1/$arch"
    download_deb "$sum" "$path" "$1/$arch/${path##*/}"
  done < <(packages)
}
once image fill
go run ./packaging/image "$release" "$(realpath .cache/image)" "$version" "$time" "$release/notation-pkcs11-action-image_$version.tar"
