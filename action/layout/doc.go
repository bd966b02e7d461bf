// SPDX-License-Identifier: Apache-2.0

// Package layout reads and writes OCI image layouts (OCI image-spec, "Image Layout"), in
// which artifacts are named, signed and listed as in a repository. It sends no request,
// and what is to be written when, it does not know.
//
// Start with [Store], a layout in a directory that several processes write to at once;
// writer.go says how none of them loses what another wrote. A [Layout] is read where it
// is, in a directory or a tar archive (files.go), and a [Source] is an artifact in it
// that is to be copied. Only index.go changes an index.json.
package layout
