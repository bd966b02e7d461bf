// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"slices"
	"strings"
	"testing"
)

func TestSettingsThatAreNoSandboxAreRefused(t *testing.T) {
	for setting, says := range map[string]string{
		"":                     "neither read:PATH",
		"read:etc":             "not an absolute path",
		"read:":                "not an absolute path",
		"read:/a,":             "neither read:PATH",
		"on,read:/a":           "neither read:PATH",
		"execute:/bin/sh":      "neither read:PATH",
		"connect:0":            "not a TCP port",
		"connect:65536":        "not a TCP port",
		"connect:localhost:22": "not a TCP port",
		"read:/a%20b":          "percent sign",
		"read:/a%":             "percent sign",
		"write:/a\x00":         "zero byte",
	} {
		if s, err := Parse(setting); s != nil || err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v, want %s", setting, s, err, says)
		}
	}
}

// FuzzSandbox holds that a setting which is accepted names absolute paths, and is
// written so that it is read as the same.
func FuzzSandbox(f *testing.F) {
	for _, seed := range []string{
		"on", "read:/etc/softhsm,write:/var/lib/softhsm/tokens,connect:2321", "read:/a%2Cb,read:/c%25d%2525", "read:/a%2cb", "read:/a/../b/", "write:/dev/tpmrm0",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, setting string) {
		s, err := Parse(setting)
		if err != nil {
			return
		}
		for _, path := range slices.Concat(s.Read, s.Write) {
			if !strings.HasPrefix(path, "/") || strings.Contains(path, "\x00") {
				t.Fatalf("%q names %q", setting, path)
			}
		}
		again, err := Parse(s.String())
		if err != nil || !slices.Equal(again.Read, s.Read) || !slices.Equal(again.Write, s.Write) || !slices.Equal(again.Connect, s.Connect) {
			t.Fatalf("%q became %q, %v", setting, s, err)
		}
	})
}
