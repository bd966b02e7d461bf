// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"strings"
	"testing"
)

func TestReferencesOfLayouts(t *testing.T) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, c := range []struct {
		text string
		want LayoutReference
		bad  string
	}{
		{"dist/image.tar", LayoutReference{Path: "dist/image.tar"}, ""},
		{"image.tar:v1", LayoutReference{Path: "image.tar", Name: "v1"}, ""},
		{"image.tar:registry.example:5000/app:v1", LayoutReference{Path: "image.tar", Name: "registry.example:5000/app:v1"}, ""},
		{"image.tar@" + d, LayoutReference{Path: "image.tar", Digest: d}, ""},
		{"image.tar:v1@" + d, LayoutReference{Path: "image.tar", Name: "v1", Digest: d}, ""},
		{"a@b/image.tar:v1", LayoutReference{Path: "a@b/image.tar", Name: "v1"}, ""},
		{`C:\build\image.tar:v1`, LayoutReference{Path: `C:\build\image.tar`, Name: "v1"}, ""},
		{"a:v1", LayoutReference{Path: "a", Name: "v1"}, ""},
		{"", LayoutReference{}, "names no path"},
		{":v1", LayoutReference{}, "names no path"},
		{"image.tar:", LayoutReference{}, "no name"},
		{"image.tar@sha256:00", LayoutReference{}, "digest"},
	} {
		got, err := ParseLayoutReference(c.text)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%q: %v", c.text, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for text, isLayout := range map[string]bool{
		"oci-layout:dir": true, "oci:dir:v1": true, "oci-archive:image.tar": true,
		"oci://registry.example/app:v1": false, "registry.example/app:v1": false, "docker://registry.example/app:v1": false,
	} {
		if _, got := LayoutPath(text); got != isLayout {
			t.Errorf("%s means a layout: %t", text, got)
		}
	}
}
