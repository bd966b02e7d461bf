#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Runs the goreleaser of testenv/tools on this checkout, with the arguments as
# they are. GoReleaser takes a checkout that has no remote for no repository: it
# then says that the commit is "none", the version 0.0.0 and the time now. So git
# has a remote's URL for it, which goes into nothing that is built. Where a remote
# is there, its own URL comes first.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export GIT_CONFIG_COUNT=1
export GIT_CONFIG_KEY_0=remote.origin.url
export GIT_CONFIG_VALUE_0=https://github.com/notation-pkcs11/notation-pkcs11
exec go tool -modfile=testenv/tools/goreleaser/go.mod goreleaser "$@"
