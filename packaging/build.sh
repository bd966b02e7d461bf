#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Builds what this machine can build of a release (goreleaser.yaml), and puts the
# files that are published into dist/release. It publishes nothing. With
# --snapshot the checkout may be changed and needs no tag.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip=publish
[ "$(uname)" = Linux ] || skip+=,nfpm
packaging/goreleaser.sh release --clean --skip="$skip" "$@"

# With --snapshot it goes on without a commit, whose time is that of the files.
commit=$(git rev-parse HEAD)
if [ "$(jq -r .commit dist/metadata.json)" != "$commit" ]; then
  echo "build: the build is not of the commit $commit; run this in a git clone, not in a copy of its files" >&2
  exit 1
fi

mkdir dist/release
list=$(echo dist/notation-pkcs11_*_checksums.txt)
cp "$list" dist/release/
while read -r _ name; do
  # A bare executable has its name in the list alone.
  cp "$(jq -r --arg name "$name" '.[] | select(.name == $name) | .path' dist/artifacts.json)" "dist/release/$name"
done <"$list"
if [ "$(uname)" = Linux ]; then
  version=$(jq -r .version dist/metadata.json)
  packaging/image.sh dist/release "$version" "$(git log -1 --format=%cI)"
  (cd dist/release && shasum -a 256 "notation-pkcs11-action-image_$version.tar" >>"${list##*/}")
fi
cd dist/release
shasum -a 256 --check --quiet ./*_checksums.txt
