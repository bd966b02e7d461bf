// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
