// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"slices"
	"strings"
	"testing"
)

// What older kernels don't restrict is said, and nothing of a new one.
func TestOldKernelsAreNamed(t *testing.T) {
	for abi, says := range map[int][]string{
		1: {"TCP", "cutting", "ioctl"}, 2: {"TCP", "cutting", "ioctl"}, 3: {"TCP", "ioctl"}, 4: {"ioctl"}, 5: nil, 12: nil,
	} {
		text := missing(abi)
		for _, want := range []string{"TCP", "cutting", "ioctl"} {
			if named := slices.Contains(says, want); strings.Contains(text, want) != named {
				t.Errorf("interface %d: %q, about %s: %v", abi, text, want, !named)
			}
		}
	}
}
