// SPDX-License-Identifier: Apache-2.0

package sign

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

	"github.com/notation-pkcs11/notation-pkcs11/testenv/download"
)

func TestPluginArchivesThatAreRefused(t *testing.T) {
	many := []download.Entry{download.File("notation-soft", "x")}
	for i := range maxPluginFiles {
		many = append(many, download.File(fmt.Sprint(i), "x"))
	}
	for name, test := range map[string]struct {
		content []byte
		says    string
	}{
		"another plugin":   {download.TarGzip(t, download.File("notation-other", "x")), "notation-soft"},
		"a link":           {download.TarGzip(t, download.File("notation-soft", "-> /bin/sh")), "notation-soft"},
		"twice":            {download.TarGzip(t, download.File("a/notation-soft", "x"), download.File("b/notation-soft", "y")), "exists"},
		"no archive":       {[]byte("\x1f\x8bgarbage"), "unpack the .tar.gz"},
		"nothing":          {nil, "too short"},
		"too many files":   {download.TarGzip(t, many...), "more than 100 files"},
		"parent directory": {download.TarGzip(t, download.File("notation-soft", "x"), download.File("a/..", "x")), "name"},
	} {
		t.Run(name, func(t *testing.T) {
			source := PluginSource{"soft", download.Serve(t, test.content), download.SHA256(test.content)}
			_, err := source.Fetch(t.Context(), http.DefaultTransport, t.TempDir())
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
	content := download.TarGzip(t, download.File("../../escaped", "x"), download.File("/etc/absolute", "x"), download.File("notation-soft", "x"))
	source := PluginSource{"soft", download.Serve(t, content), download.SHA256(content)}
	if _, err := source.Fetch(t.Context(), http.DefaultTransport, folder); err != nil {
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
		source := PluginSource{name, download.Serve(t, content), download.SHA256(content)}
		if _, err := source.Fetch(t.Context(), http.DefaultTransport, t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

func TestUnpackingCanBeInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, content := range map[string][]byte{
		"executable": []byte("#!/bin/sh\n"),
		"tar.gz":     download.TarGzip(t, download.File("notation-soft", "x")),
		"zip":        download.Zip(t, download.File("notation-soft", "x")),
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
	for _, server := range []string{missing.URL, redirecting.URL, download.Serve(t, []byte("another")), "http://127.0.0.1:1"} {
		address := strings.Replace(server, "http://", "http://user:hush@", 1) + "/hush?token=hush"
		_, err := PluginSource{"soft", address, download.SHA256(nil)}.Fetch(t.Context(), http.DefaultTransport, t.TempDir())
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "http://127.0.0.1:") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"http://plugins.example.com/?token=hush", "https://%zz/?token=hush", "hush"} {
		if err := CheckPluginURL(address); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPluginRedirectToPlainHTTPIsRefused(t *testing.T) {
	server := httptest.NewServer(http.RedirectHandler("http://plugins.example.com/x", http.StatusFound))
	defer server.Close()
	source := PluginSource{"soft", server.URL, download.SHA256(nil)}
	if _, err := source.Fetch(t.Context(), http.DefaultTransport, t.TempDir()); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Error(err)
	}
}
