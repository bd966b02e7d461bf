// SPDX-License-Identifier: Apache-2.0

// Package download makes archives and serves them, for tests of what is fetched.
package download

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Entry is a file of an archive.
type Entry struct{ Name, Content string }

// File returns an entry. Content that begins with "-> " makes it a link to what
// follows.
func File(name, content string) Entry { return Entry{name, content} }

// TarGzip returns a .tar.gz.
func TarGzip(t *testing.T, files ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		header := &tar.Header{Name: f.Name, Mode: 0o644, Size: int64(len(f.Content))}
		if target, isLink := strings.CutPrefix(f.Content, "-> "); isLink {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, target, 0
			f.Content = ""
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.Content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Zip returns a .zip.
func Zip(t *testing.T, files ...Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, f := range files {
		w, err := archive.Create(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.Content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// SHA256 returns a checksum in hexadecimal.
func SHA256(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Serve serves a file on loopback, where http is good enough.
func Serve(t *testing.T, content []byte) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	t.Cleanup(server.Close)
	return server.URL + "/plugin"
}
