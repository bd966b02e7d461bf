#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0

# Runs a command for which the kernel starts executables for arm64 in an emulator, and
# so do the programs that it starts: emulate.sh COMMAND… The emulator is registered
# (binfmt_misc) for the command alone, in a user namespace, which takes Linux 6.7. Where
# that can't be had, nothing is run, and the exit status is 125.

set -euo pipefail
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../.cache/arm64")

fail() {
  echo "emulate: $*" >&2
  exit 125
}

# Another user's namespace has no root, so that the system's files would be nobody's,
# and refused as modules.
[ "$(id -u)" = 0 ] || fail "root is required"
emulator=$(command -v qemu-aarch64) || fail "qemu-aarch64 is not installed"

# The first bytes of an ELF executable for arm64, and which bits of them count.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

export QEMU_LD_PREFIX=$root
# shellcheck disable=SC2016 # for the inner shell
exec unshare --user --map-root-user --mount sh -c '
  mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
    printf %s "$1" >/proc/sys/fs/binfmt_misc/register || exit 125
  shift
  exec "$@"' emulate ":qemu-aarch64:M::$magic:$mask:$emulator:" "$@"
