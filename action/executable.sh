#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# The first step of action.yml: gets the executable, and hands its path to the
# next step. It is the one that the input binary names; else the asset of the
# action's release, if its SHA-256 stands in executable.sha256; else one that is
# built here.

set -euo pipefail

# What this step hands to programs: how they reach the network, and what Windows
# needs. Everything else stays here, so that the compiler learns no secret of the
# job (nektos/act hands the inputs to each step), and nobody's settings of curl,
# Go and the C compiler take part in the build. GOPROXY decides where modules come
# from; go.sum decides what is in them.
shared=(
  PATH GOPROXY SSL_CERT_FILE SSL_CERT_DIR CURL_CA_BUNDLE
  HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
  SYSTEMROOT SystemRoot SYSTEMDRIVE SystemDrive WINDIR windir PATHEXT COMSPEC ComSpec
)
# What it needs for itself.
own=(BINARY ACTION_PATH ACTION_REPOSITORY RUNNER_TEMP RUNNER_OS RUNNER_ARCH GITHUB_OUTPUT)

# The script starts once more, with an empty environment, because names that are
# not the shell's can't be unset. The values come by a pipe, not as arguments,
# which other users can read.
if [ "${1:-}" != clean ]; then
  exec env -i PATH="$PATH" bash "${BASH_SOURCE[0]}" clean < <(
    for name in "${shared[@]}" "${own[@]}"; do
      [ -z "${!name+set}" ] || printf '%s=%s\0' "$name" "${!name}"
    done
  )
fi
while IFS= read -r -d '' variable; do
  printf -v "${variable%%=*}" %s "${variable#*=}"
done
exec </dev/null
export "${shared[@]}"

# The name of an asset is notation-pkcs11-action_VERSION_OS_ARCH, with .exe on
# Windows. The file is as sha256sum writes it.
checksums=$ACTION_PATH/action/executable.sha256

# say shows a message in the log and with the job. A message ends where its line
# does.
say() {
  local kind=$1 text=$2
  text=${text//'%'/'%25'}
  text=${text//$'\r'/'%0D'}
  text=${text//$'\n'/'%0A'}
  printf '::%s title=notation-pkcs11-action::%s\n' "$kind" "$text"
}

fail() {
  say error "$1"
  exit 1
}

use() {
  printf 'path=%s\n' "$1" >>"$GITHUB_OUTPUT"
  exit 0
}

sha256() {
  if command -v sha256sum >/dev/null; then
    sha256sum <"$1"
  else
    shasum -a 256 <"$1" # macOS
  fi | cut -d ' ' -f 1
}

# platform is as Go calls it, and empty where nobody releases for it.
platform() {
  case "${RUNNER_OS:-}-${RUNNER_ARCH:-}" in
    Linux-X64) echo linux_amd64 ;;
    Linux-ARM64) echo linux_arm64 ;;
    macOS-X64) echo darwin_amd64 ;;
    macOS-ARM64) echo darwin_arm64 ;;
    Windows-X64) echo windows_amd64 ;;
  esac
}

# pinned prints the line of executable.sha256 for this platform.
pinned() {
  local platform
  platform=$(platform)
  [ -n "$platform" ] && grep -E "^[0-9a-f]{64}  notation-pkcs11-action_[0-9A-Za-z.+-]+_$platform(\.exe)?\$" "$checksums"
}

# released downloads the asset of the action's release. What has another checksum
# than the pinned one is no reason to build, but to stop.
released() {
  local line want asset version file got
  line=$(pinned) || return 1
  want=${line%% *}
  asset=${line##* }
  version=${asset#notation-pkcs11-action_}
  version=${version%%_*}
  file=$folder/$asset
  if ! curl --disable --proto '=https' --tlsv1.2 --fail --silent --show-error --location --retry 3 --max-time 300 \
    --output "$file" "https://github.com/${ACTION_REPOSITORY:-notation-pkcs11/notation-pkcs11}/releases/download/v$version/$asset"; then
    say warning "$asset of the release v$version couldn't be downloaded, so the executable is built from source"
    return 1
  fi
  got=$(sha256 "$file")
  [ "$got" = "$want" ] || fail "$asset of the release v$version is not what this action was released with: its SHA-256 is $got, not $want"
  chmod 700 "$file"
  use "$file"
}

# built compiles the action's source. Go has its settings and caches from nowhere
# else: no go.work of a directory above, no environment file, no modules and no
# objects that others left on this machine.
built() {
  command -v go >/dev/null ||
    fail "there is no release of the executable for this platform, and no Go to build it with; use actions/setup-go before, or set the input binary"
  local file=$folder/notation-pkcs11-action work=$folder/build
  [ "${RUNNER_OS:-}" != Windows ] || file=$file.exe
  mkdir "$work" "$work/tmp"
  (
    export HOME=$work TMPDIR=$work/tmp TMP=$work/tmp TEMP=$work/tmp
    export GOENV=off GOWORK=off GOFLAGS='' GOPATH=$work/go GOCACHE=$work/cache CGO_ENABLED=1
    CDPATH='' cd -- "$ACTION_PATH" &&
      go build -trimpath -buildvcs=false -modcacherw -o "$file" ./cmd/notation-pkcs11-action
  ) || fail "the executable can't be built from source; a C compiler is needed too"
  rm -rf "$work"
  use "$file"
}

if [ -n "${BINARY:-}" ]; then
  case $BINARY in *$'\n'*) fail "binary: a path of one line is needed" ;; esac
  [ -f "$BINARY" ] && [ -x "$BINARY" ] || fail "binary: $BINARY is not an executable file"
  use "$(CDPATH='' cd -- "$(dirname -- "$BINARY")" >/dev/null && pwd)/$(basename -- "$BINARY")"
fi
folder=$(mktemp -d "${RUNNER_TEMP:-/tmp}/notation-pkcs11-action-XXXXXX")
released || built
