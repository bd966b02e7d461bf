#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Runs a command that has "go test -json" write its events into a file. Says first
# how long that may take, and then every half a minute how far it is:
#
#   testenv/progress.sh EVENTS COMMAND [ARGUMENT...]

set -euo pipefail
events=$1
shift
took="$events.took" # seconds, of the last run that went well

packages=$(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep --count .)
if [ -e "$took" ]; then
  last="the last run in this checkout took $((($(cat "$took") + 59) / 60)) min"
else
  last="about ten minutes on two cores, and longer while everything is built for the first time"
fi
echo "Testing $packages packages: $last"

# grep fails where it counts none, which is no failure here.
count() { grep --count "$@" "$events" || true; }

report() {
  exec {never}<> <(:)
  while ! read -rt 30 -u "$never"; do # which waits without another process
    # As in count, and of the packages alone.
    ended=$(grep -v '"Test":' "$events" | grep --count --extended-regexp '"Action":"(pass|fail)"' || true)
    echo "… $((SECONDS / 60)) min $((SECONDS % 60)) s: $ended of $packages packages done," \
      "$(count --extended-regexp '"Action":"(pass|fail)".*"Test":"[^/"]+"') tests"
  done
}

: >"$events"
report &
trap 'kill "$!"' EXIT
"$@"
echo "$SECONDS" >"$took"
