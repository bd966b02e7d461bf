// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/opencontainers/go-digest"
)

// LayoutReference names an artifact in an OCI image layout.
type LayoutReference struct {
	Path   string        // of a directory or a tar archive
	Name   string        // empty: none
	Digest digest.Digest // empty: none
}

// LayoutPrefix is how references begin that name a layout.
const LayoutPrefix = "oci-layout:"

// layoutPrefixes are how references begin that mean a layout. What oci:// means is
// in a registry.
var layoutPrefixes = []string{LayoutPrefix, "oci-archive:", "oci:"}

// windowsDrive is how a path begins whose first colon comes before no name.
var windowsDrive = regexp.MustCompile(`^[A-Za-z]:[\\/]`)

// LayoutPath returns what follows the prefix of a reference that means a layout.
func LayoutPath(text string) (rest string, isLayout bool) {
	for _, prefix := range layoutPrefixes {
		if rest, found := strings.CutPrefix(text, prefix); found && !strings.HasPrefix(rest, "//") {
			return rest, true
		}
	}
	return "", false
}

// ParseLayoutReference parses PATH[:NAME][@DIGEST], such as
// "image.tar:registry.example/app:v1". A digest at the end is cut first, then the name
// is all after the first colon, that of a Windows drive aside.
func ParseLayoutReference(text string) (LayoutReference, error) {
	var ref LayoutReference
	rest := text
	if i := strings.LastIndexByte(rest, '@'); i >= 0 && digest.DigestRegexpAnchored.MatchString(rest[i+1:]) {
		ref.Digest = digest.Digest(rest[i+1:])
		if err := ref.Digest.Validate(); err != nil {
			return ref, fmt.Errorf("digest %q: %w", ref.Digest, err)
		}
		rest = rest[:i]
	}
	drive := windowsDrive.FindString(rest)
	path, name, named := strings.Cut(rest[len(drive):], ":")
	ref.Path, ref.Name = drive+path, name
	switch {
	case path == "":
		return ref, errors.New("it names no path of a layout")
	case named && name == "":
		return ref, errors.New("no name follows the colon behind the path")
	}
	return ref, nil
}
