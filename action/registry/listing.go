// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// MaxListed is how many manifests a page of referrers or a referrers index may
// list. As many real entries hardly fit into maxManifestBytes, but a million of
// empty ones do, and each takes more than a hundred bytes once it is decoded:
// oras-go decodes such a page whole, and bounds its bytes alone.
const MaxListed = 40_000

// ErrTooLong says that a list is too long, now and when it is asked for again.
var ErrTooLong = fmt.Errorf("it lists more than %d manifests, which is the limit; delete those that are not needed", MaxListed)

// checkListing is for a text that was read already.
func checkListing(text []byte) error {
	b := listingBody{left: MaxListed}
	for _, c := range text {
		b.take(c)
	}
	if b.left < 0 {
		return ErrTooLong
	}
	return nil
}

// tagOfIndex is the path of a referrers index, whatever the subject's algorithm.
var tagOfIndex = regexp.MustCompile(`/manifests/sha[0-9]+-`)

// lists reports whether what is at a path lists referrers.
func lists(path string) bool {
	return strings.Contains(path, "/referrers/") || tagOfIndex.MatchString(path)
}

// listingBody is a JSON text of which reading fails where the lists in its
// outermost object have more elements than are left.
type listingBody struct {
	io.ReadCloser
	left    int
	depth   int  // of arrays and objects
	quoted  bool // within a string
	escaped bool // behind a backslash
}

// Read implements [io.Reader].
func (b *listingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for _, c := range p[:n] {
		b.take(c)
	}
	if b.left < 0 {
		return 0, ErrTooLong
	}
	return n, err
}

// take follows a byte of the text. Of what is no JSON it counts something or
// other, which does no harm: decoding fails.
func (b *listingBody) take(c byte) {
	switch {
	case b.escaped:
		b.escaped = false
	case b.quoted:
		b.escaped = c == '\\'
		b.quoted = c != '"'
	case c == '"':
		b.quoted = true
	case c == '{', c == '[':
		b.depth++
	case c == '}', c == ']':
		b.depth--
	case c == ',' && b.depth == 2:
		b.left--
	}
}
