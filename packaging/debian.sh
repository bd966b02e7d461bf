# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash

# For the scripts beside it: Debian's packages by their checksums.

# once NAME FILL gives the function FILL a new directory to fill, and then makes
# it .cache/NAME. Until the calling script's text changes, that isn't done again.
once() {
  local key dir part
  key=$(sha256sum <"$script")
  dir=.cache/$1-${key:0:8}
  if [ ! -d "$dir" ]; then
    mkdir -p .cache
    part=$(mktemp -d ".cache/.part-$1-XXXXXX")
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$part'" EXIT
    "$2" "$part"
    chmod 755 "$part"
    mv "$part" "$dir"
    trap - EXIT
  fi
  ln -sfn "${dir##*/}" ".cache/$1"
}

# download_deb SHA256 PATH OUTPUT takes the file from the first mirror that has it
# with that checksum. The last mirror keeps what the first ones have deleted, as
# of the date that the script sets in "snapshot".
download_deb() {
  local sum=$1 path=$2 output=$3 mirror
  for mirror in https://deb.debian.org/debian http://deb.debian.org/debian \
    "https://snapshot.debian.org/archive/debian/$snapshot"; do
    if curl --fail --silent --show-error --location --retry 3 --max-time 120 --output "$output" "$mirror/$path" &&
      printf '%s  %s\n' "$sum" "$output" | sha256sum --check --status; then
      return
    fi
    echo "$mirror/$path: not found, or its checksum is wrong" >&2
  done
  echo "$path: no mirror has it" >&2
  return 1
}
