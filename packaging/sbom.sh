#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Writes what an executable is made of, as CycloneDX: sbom.sh EXECUTABLE VERSION
# TIME OUTPUT. The time is the commit's, and the tool's own checksums are left
# out, so that two builds of one commit have the same list.

set -euo pipefail
executable=$(realpath "$1") version=$2 time=$3 output=$(realpath "$4")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

go tool -modfile=testenv/tools/cyclonedx-gomod/go.mod cyclonedx-gomod \
  bin -json -std -noserial -version "v$version" "$executable" |
  jq --arg time "$time" '.metadata.timestamp = $time | del(.metadata.tools[].hashes)' >"$output"
