// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"path/filepath"

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
		return LayoutPrefix + l.Layout
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
