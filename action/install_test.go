// SPDX-License-Identifier: Apache-2.0

package action

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// file is one of an archive.
type file struct{ name, content string }

func tarGzip(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}
		if target, isLink := strings.CutPrefix(f.content, "-> "); isLink {
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, target, 0
			f.content = ""
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(f.content)); err != nil {
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

func zipped(t *testing.T, files ...file) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, f := range files {
		w, err := archive.Create(f.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sha256Of(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// serve serves a file on loopback, where http is good enough.
func serve(t *testing.T, content []byte) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	t.Cleanup(server.Close)
	return server.URL + "/plugin"
}

// A plugin comes as it is, or in an archive, and signs.
func TestFetchedPluginSigns(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	script := pluginScript(t, w.signer)
	for name, content := range map[string][]byte{
		"executable": script,
		"tar.gz":     tarGzip(t, file{"LICENSE", "free"}, file{"bin/notation-soft", string(script)}),
		"zip":        zipped(t, file{"notation-soft", string(script)}, file{"README.md", "soft"}),
	} {
		t.Run(name, func(t *testing.T) {
			r := w.run(t, map[string]string{
				"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
				"INPUT_PLUGIN_NAME":               "soft",
				"INPUT_PLUGIN_URL":                serve(t, content),
				"INPUT_PLUGIN_CHECKSUM":           strings.ToUpper(sha256Of(content)),
			})
			if n := r.report.Count(); r.code != 0 || n.Signed != 1 || n.Verified != 1 {
				t.Fatalf("exit code %d, %+v", r.code, n)
			}
		})
	}
	left, err := filepath.Glob(w.path(Name + "-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What does not have the checksum is not even unpacked.
func TestPluginWithAnotherChecksumIsNotUsed(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	ran := w.path("ran")
	script := []byte("#!/bin/sh\ntouch " + ran + "\n")
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_PLUGIN_NAME":               "soft",
		"INPUT_PLUGIN_URL":                serve(t, script),
		"INPUT_PLUGIN_CHECKSUM":           sha256Of([]byte("something else")),
	})
	if r.code != 1 || len(r.report.Errors) != 1 || !strings.Contains(r.report.Errors[0], "plugin_checksum") {
		t.Fatalf("exit code %d, errors %q", r.code, r.report.Errors)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("it was run")
	}
	if len(r.requests) != 0 {
		t.Errorf("requests %v", r.requests)
	}
}

func TestPluginArchivesThatAreRefused(t *testing.T) {
	many := []file{{"notation-soft", "x"}}
	for i := range maxPluginFiles {
		many = append(many, file{fmt.Sprint(i), "x"})
	}
	for name, test := range map[string]struct {
		content []byte
		says    string
	}{
		"another plugin":   {tarGzip(t, file{"notation-other", "x"}), "notation-soft"},
		"a link":           {tarGzip(t, file{"notation-soft", "-> /bin/sh"}), "notation-soft"},
		"twice":            {tarGzip(t, file{"a/notation-soft", "x"}, file{"b/notation-soft", "y"}), "exists"},
		"no archive":       {[]byte("\x1f\x8bgarbage"), "unpack the .tar.gz"},
		"nothing":          {nil, "too short"},
		"too many files":   {tarGzip(t, many...), "more than 100 files"},
		"parent directory": {tarGzip(t, file{"notation-soft", "x"}, file{"a/..", "x"}), "name"},
	} {
		t.Run(name, func(t *testing.T) {
			source := pluginSource{"soft", serve(t, test.content), sha256Of(test.content)}
			_, err := source.fetch(t.Context(), http.DefaultTransport, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Error(err)
			}
		})
	}
}

// Names in an archive lead nowhere but into the plugin's own directory.
func TestPluginFilesStayInTheirFolder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	content := tarGzip(t, file{"../../escaped", "x"}, file{"/etc/absolute", "x"}, file{"notation-soft", "x"})
	source := pluginSource{"soft", serve(t, content), sha256Of(content)}
	if _, err := source.fetch(t.Context(), http.DefaultTransport, folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"escaped", "absolute", "notation-soft"} {
		if _, err := os.Stat(filepath.Join(folder, "plugin", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestPluginMayBeCalledAsOurOwnFilesAre(t *testing.T) {
	for _, name := range []string{"download", "plugin"} {
		content := []byte("#!/bin/sh\n")
		source := pluginSource{name, serve(t, content), sha256Of(content)}
		if _, err := source.fetch(t.Context(), http.DefaultTransport, t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

func TestUnpackingCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, content := range map[string][]byte{
		"executable": []byte("#!/bin/sh\n"),
		"tar.gz":     tarGzip(t, file{"notation-soft", "x"}),
		"zip":        zipped(t, file{"notation-soft", "x"}),
	} {
		archive := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(archive, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unpack(ctx, archive, t.TempDir(), "notation-soft"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What gives access to a plugin may be in any part of its URL.
func TestPluginURLIsNotShown(t *testing.T) {
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	redirecting := httptest.NewServer(http.RedirectHandler("http://plugins.example.com/hush", http.StatusFound))
	defer redirecting.Close()
	for _, server := range []string{missing.URL, redirecting.URL, serve(t, []byte("another")), "http://127.0.0.1:1"} {
		address := strings.Replace(server, "http://", "http://user:hush@", 1) + "/hush?token=hush"
		_, err := pluginSource{"soft", address, sha256Of(nil)}.fetch(t.Context(), http.DefaultTransport, t.TempDir())
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "http://127.0.0.1:") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"http://plugins.example.com/?token=hush", "https://%zz/?token=hush", "hush"} {
		if err := checkPluginURL(address); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPluginRedirectToPlainHTTPIsRefused(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("http://plugins.example.com/x", http.StatusFound))
	defer server.Close()
	source := pluginSource{"soft", server.URL, sha256Of(nil)}
	if _, err := source.fetch(t.Context(), http.DefaultTransport, t.TempDir()); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Error(err)
	}
}

// A plugin that is installed in notation is used as it is.
func TestInstalledPluginSigns(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	folder := w.path("notation/plugins/soft")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "notation-soft"), pluginScript(t, w.signer), 0o700); err != nil {
		t.Fatal(err)
	}
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_PLUGIN_NAME": "soft"})
	if n := r.report.Count(); r.code != 0 || n.Signed != 1 || n.Verified != 1 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
}
