// SPDX-License-Identifier: Apache-2.0

package layout

import (
	"fmt"
	"regexp"

	"github.com/opencontainers/go-digest"
)

// referrersTagPattern matches the tags of the referrers tag schema, and those of
// cosign, which have a suffix.
var referrersTagPattern = regexp.MustCompile(`^sha(256|512)-[0-9a-f]{64}(\.[a-z]+)?$`)

// namePattern is that of org.opencontainers.image.ref.name (OCI image-spec,
// "Pre-Defined Annotation Keys"), or that of a tag, which not all of is in the former.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9]+(([-._:@+/]|--)[A-Za-z0-9]+)*$|^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// CheckName returns an error if a manifest in a layout can't get a name.
func CheckName(name string) error {
	const longest = 4096
	if len(name) > longest || !namePattern.MatchString(name) {
		return fmt.Errorf("%q is no name for an artifact in a layout: it consists of letters and digits, and of - . _ : @ + / between them", name)
	}
	if referrersTagPattern.MatchString(name) || digest.Digest(name).Validate() == nil {
		return fmt.Errorf("%q is no name for an artifact in a layout: it means a digest, or what refers to it", name)
	}
	return nil
}
