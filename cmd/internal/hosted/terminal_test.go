// SPDX-License-Identifier: Apache-2.0

//go:build unix

package hosted

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What is typed is in one buffer, and nothing else of it stays there.
func TestTypedLine(t *testing.T) {
	for name, test := range map[string]struct {
		reads []string // what each read gives; the last one goes on
		want  string
		fails bool
	}{
		"a line":                    {[]string{"1234\n"}, "1234", false},
		"in pieces":                 {[]string{"12", "34\n"}, "1234", false},
		"more than a line":          {[]string{"1234\n5678\n"}, "1234", false},
		"only Enter":                {[]string{"\n"}, "", false},
		"only Ctrl-D":               {[]string{""}, "", false},
		"Ctrl-D twice after a line": {[]string{"1234", ""}, "1234", false},
		"a line of the longest":     {[]string{strings.Repeat("1", 4095) + "\n"}, strings.Repeat("1", 4095), false},
		"a line that is longer":     {[]string{strings.Repeat("1", 4096)}, "", true},
	} {
		var whole []byte
		reads := 0
		line, err := readLine(func(rest []byte) (int, error) {
			if reads++; reads == 1 {
				whole = rest
				return 0, unix.EINTR
			}
			return copy(rest, test.reads[min(reads-2, len(test.reads)-1)]), nil
		})
		if string(line) != test.want || (err != nil) != test.fails {
			t.Errorf("%s: %q, %v", name, line, err)
		}
		if left := strings.Trim(string(whole), "\x00"); left != test.want {
			t.Errorf("%s: %q is left in memory", name, left)
		}
		if len(line) > 0 && &line[0] != &whole[0] {
			t.Errorf("%s: the line is a copy", name)
		}
	}
}
