// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/opencontainers/go-digest"
	"oras.land/oras-go/v2/registry"
)

// Location is where an artifact is or goes to: a repository, or a layout. It can be
// compared.
type Location struct {
	Repository registry.Reference // without tag and digest; the zero value: it is a layout
	Layout     string             // the path of a directory, cleaned; empty: it is a repository
}

// LayoutLocation is a layout in a directory.
func LayoutLocation(path string) Location { return Location{Layout: filepath.Clean(path)} }

// String returns registry/repository or oci-layout:PATH.
func (l Location) String() string {
	if l.Layout != "" {
		return layoutPrefix + l.Layout
	}
	return l.Repository.String()
}

// storeAt returns the store at a location.
func (r *Client) storeAt(at Location) (Store, error) {
	if at.Layout == "" {
		return r.repository(at.Repository)
	}
	if layout, known := r.options.Layouts[at.Layout]; known {
		return layout, nil
	}
	return nil, fmt.Errorf("layout %s is not open", at.Layout)
}

// layoutNamePattern is that of org.opencontainers.image.ref.name (OCI image-spec,
// "Pre-Defined Annotation Keys"), or that of a tag, which not all of is in the former.
var layoutNamePattern = regexp.MustCompile(`^[A-Za-z0-9]+(([-._:@+/]|--)[A-Za-z0-9]+)*$|^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// CheckLayoutName returns an error if a manifest in a layout can't get a name.
func CheckLayoutName(name string) error {
	const longest = 4096
	if len(name) > longest || !layoutNamePattern.MatchString(name) {
		return fmt.Errorf("%q is no name for an artifact in a layout: it consists of letters and digits, and of - . _ : @ + / between them", name)
	}
	if referrersTagPattern.MatchString(name) || digest.Digest(name).Validate() == nil {
		return fmt.Errorf("%q is no name for an artifact in a layout: it means a digest, or what refers to it", name)
	}
	return nil
}
