# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# For the scripts beside it: Debian's packages by their checksums.

# download_deb SHA256 PATH OUTPUT MIRROR… takes the file from the first mirror that
# has it with that checksum.
download_deb() {
  local sum=$1 path=$2 output=$3 mirror
  shift 3
  for mirror in "$@"; do
    if curl --fail --silent --show-error --location --retry 3 --max-time 120 --output "$output" "$mirror/$path" &&
      printf '%s  %s\n' "$sum" "$output" | sha256sum --check --status; then
      return
    fi
    echo "$mirror/$path: not found, or its checksum is wrong" >&2
  done
  echo "$path: no mirror has it" >&2
  return 1
}
