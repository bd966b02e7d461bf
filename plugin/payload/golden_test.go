// SPDX-License-Identifier: Apache-2.0

package payload

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// The golden messages were signed by notation-go v1.3.2, and by its main branch of
// November 2025 (a48f2283), with notation-core-go v1.3.0 and its main branch
// (ef878962). Those of EC keys have an expiry and user metadata.
const goldenMessages = "testdata/golden"

func readGolden(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob(goldenMessages + "/*")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("there are no golden messages: %v", err)
	}
	messages := map[string][]byte{}
	for _, path := range paths {
		if messages[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			tb.Fatal(err)
		}
	}
	return messages
}

func TestWhatReleasesOfNotationSignIsRead(t *testing.T) {
	metadata := map[string]string{"build": "<42> & \"é\" \U0001F600\u2028", "bad": "\uFFFD", "io.wabbit": ""}
	targets := map[string]Descriptor{
		"image": {MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: "sha256:6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d", Size: 528},
		"blob":  {MediaType: "application/octet-stream", Digest: "sha384:853a25494b621316d1382e5a3493d2f62c697c8ece9dba1728ce358e15fcce4ecf3005fb5ed7296cbffc0e5a930f6a2b", Size: 1 << 40},
	}
	messages := readGolden(t)
	if len(messages) != 16 {
		t.Errorf("%d messages; two releases, formats, artifacts and keys make 16", len(messages))
	}
	for name, message := range messages {
		got, err := Parse(message)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		parts := strings.Split(name, "-") // release, format, artifact, type and size of the key
		want := &Payload{Format: parts[1], Algorithm: "PS384", SigningTime: got.SigningTime, Target: targets[parts[2]]}
		if parts[3] == "ec" {
			want.Algorithm, want.Expiry, want.Target.Annotations = "ES384", got.SigningTime.AddDate(0, 0, 1), metadata
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
		if day := got.SigningTime.Format(time.DateOnly); day != "2026-11-30" {
			t.Errorf("%s: signed on %s", name, day)
		}
	}
}
