#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Joins what the runners built into one release: join.sh DIRECTORY… VERSION. The
# files go to release/, with one list of their checksums, checksums.txt, and the
# version's part of CHANGELOG.md, notes.md. It fails if the action would refuse
# its own executable.

set -euo pipefail

version=${*: -1}
directories=("${@:1:$#-1}")
pins=action/executable.sha256

fail() {
  printf 'join: %s\n' "$*" >&2
  exit 1
}

mkdir release
for directory in "${directories[@]}"; do
  (cd "$directory" && sha256sum --check --strict --quiet "notation-pkcs11_${version}_checksums.txt")
  cat "$directory/notation-pkcs11_${version}_checksums.txt" >>release/checksums.txt
  find "$directory" -type f ! -name '*_checksums.txt' -exec cp --no-clobber --target-directory release {} +
done
LC_ALL=C sort --key 2 --output release/checksums.txt release/checksums.txt
(cd release && sha256sum --check --strict --quiet checksums.txt)

while read -r line; do
  grep --quiet --line-regexp --fixed-strings "$line" "$pins" ||
    fail "the action would refuse its executable, because $pins lacks: $line"
done < <(grep "  notation-pkcs11-action_${version}_" release/checksums.txt | grep --extended-regexp --invert-match '\.(cdx\.json|deb|rpm)$')

awk -v heading="## [$version]" 'index($0, "## ") == 1 { on = index($0, heading) == 1; next } on' CHANGELOG.md >release/notes.md
[ -s release/notes.md ] || fail "CHANGELOG.md has no entries for $version"
