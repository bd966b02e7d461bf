// SPDX-License-Identifier: Apache-2.0

package host

import (
	"strings"
	"testing"
)

func TestLastWords(t *testing.T) {
	for name, test := range map[string]struct{ printed, words, want string }{
		"nothing":                        {"", "", ""},
		"a reason":                       {"ERROR: Could not initialize tpm ctx: 0x5\n", `; the last that it printed is "ERROR: Could not initialize tpm ctx: 0x5"`, ""},
		"the last of many":               {"a\nb\nc\n\n*** --- ***\nd\n", `; the last that it printed is "b", "c", "d"`, ""},
		"what steers":                    {"\x1b[2J\u202egood\xff\n", `; the last that it printed is "\x1b[2J\u202egood\xff"`, ""},
		"a long line":                    {strings.Repeat("x", 1000), `; the last that it printed is "` + strings.Repeat("x", 200) + `"`, ""},
		"a crash":                        {"assertion failed: slot\nSIGABRT: abort\nPC=0x7f01 m=0\ngoroutine 1\n", `; the last that it printed is "assertion failed: slot"`, ""},
		"no thread":                      {"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\n", "", "pthread_create failed"},
		"no memory":                      {"fatal error: runtime: cannot allocate memory\n", "", "runtime: cannot allocate memory"},
		"once it has a PIN":              {"PIN\nthe PIN is 1234\n", "", ""},
		"a PIN where the runtime speaks": {"PIN\npthread_create failed: PIN is 1234\n", "", "pthread_create failed"},
	} {
		t.Run(name, func(t *testing.T) {
			var w lastWords
			for line := range strings.SplitSeq(strings.TrimSuffix(test.printed, "\n"), "\n") {
				w.take([]byte(line))
				if line == "PIN" {
					w.seal()
				}
			}
			if got := w.String(); got != test.words {
				t.Errorf("the words are %s, want %s", got, test.words)
			}
			if got := w.want(); got != test.want {
				t.Errorf("it wants %q, not %q", got, test.want)
			}
		})
	}
}
