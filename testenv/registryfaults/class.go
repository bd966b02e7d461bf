// SPDX-License-Identifier: Apache-2.0

package registryfaults

import (
	"net/http"
	"regexp"
)

// Class is what a request to a registry is for: its method and the kind of thing
// that it is about.
type Class string

// Classes of requests. An index is the one of the referrers tag schema, a token
// is what the proxy wants to see with every other request.
const (
	GetToken     Class = "GET token"
	HeadManifest Class = "HEAD manifest"
	GetManifest  Class = "GET manifest"
	PutManifest  Class = "PUT manifest"
	GetIndex     Class = "GET index"
	PutIndex     Class = "PUT index"
	DeleteIndex  Class = "DELETE index"
	GetReferrers Class = "GET referrers"
	HeadBlob     Class = "HEAD blob"
	GetBlob      Class = "GET blob"
	PostUpload   Class = "POST upload"
	PatchUpload  Class = "PATCH upload"
	PutUpload    Class = "PUT upload"
	other        Class = "other"
)

// pathClasses has the classes by method and path; the first that matches counts.
var pathClasses = []struct {
	method string
	path   *regexp.Regexp
	class  Class
}{
	{http.MethodGet, regexp.MustCompile(`^/token$`), GetToken},
	{http.MethodGet, regexp.MustCompile(`/referrers/[^/]+$`), GetReferrers},
	{http.MethodGet, indexPath, GetIndex},
	{http.MethodPut, indexPath, PutIndex},
	{http.MethodDelete, indexPath, DeleteIndex},
	{http.MethodHead, manifestPath, HeadManifest},
	{http.MethodGet, manifestPath, GetManifest},
	{http.MethodPut, manifestPath, PutManifest},
	{http.MethodPost, uploadPath, PostUpload},
	{http.MethodPatch, uploadPath, PatchUpload},
	{http.MethodPut, uploadPath, PutUpload},
	{http.MethodHead, blobPath, HeadBlob},
	{http.MethodGet, blobPath, GetBlob},
}

var (
	indexPath    = regexp.MustCompile(`/manifests/sha256-[0-9a-f]{64}$`)
	manifestPath = regexp.MustCompile(`/manifests/[^/]+$`)
	uploadPath   = regexp.MustCompile(`/blobs/uploads/`)
	blobPath     = regexp.MustCompile(`/blobs/[^/]+$`)
)

func classOf(r *http.Request) Class {
	for _, c := range pathClasses {
		if r.Method == c.method && c.path.MatchString(r.URL.Path) {
			return c.class
		}
	}
	return other
}
