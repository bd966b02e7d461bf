#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Installs the packages of Debian or Ubuntu that the tests and the demo use, and
# those that its arguments name. If none is missing, it prints nothing and changes
# nothing.

set -euo pipefail

packages=(
  gcc libc6-dev                     # cgo
  softhsm2                          # a token
  swtpm tpm2-tools libtpm2-pkcs11-1 # another, in a TPM
  p11-kit p11-kit-modules           # another, on another machine as it were
  opensc                            # pkcs11-tool: keys and certificates on tokens
  opensc-pkcs11 ykcs11 opencryptoki # modules whose devices are not here
  gnutls-bin                        # p11tool: public keys off tokens
  docker-registry                   # a registry without the Referrers API
  skopeo                            # which copies images, too
  curl                              # which fetches the action's executable
  strace                            # which sees all that a run writes
  "$@"
)

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v dpkg-query >/dev/null; then
  for command in gcc softhsm2-util swtpm tpm2_getcap p11-kit pkcs11-tool p11tool docker-registry skopeo curl strace; do
    command -v "$command" >/dev/null ||
      fail "$command is missing, and this script installs packages only on Debian and Ubuntu;" \
        "install what they call: ${packages[*]}"
  done
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || fail "packages are missing, and there is no sudo; run as root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi

# Packages would start services now and at each boot: a registry on port 5000,
# where tests start their own, and that of opencryptoki, which tests do without.
mask() { # PACKAGE SERVICE
  local unit=/etc/systemd/system/$2.service
  if [[ " ${missing[*]} " == *" $1 "* && ! -e $unit ]]; then
    "${as_root[@]}" mkdir -p "${unit%/*}"
    "${as_root[@]}" ln -s /dev/null "$unit"
    say "masked the service of $1, so that it doesn't start; to allow it: systemctl unmask $2"
  fi
}
mask docker-registry docker-registry
mask opencryptoki pkcsslotd

say "installing packages: ${missing[*]}"
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get --quiet --quiet --option DPkg::Lock::Timeout=300 --option Dpkg::Use-Pty=0 "$@" >&2
}
apt_get update
apt_get install --yes --no-install-recommends "${missing[@]}"

# So that "make demo" can say so.
cache="$(dirname "${BASH_SOURCE[0]}")/../.cache"
mkdir -p "$cache"
printf '%s\n' "${missing[@]}" >>"$cache/installed-packages"
