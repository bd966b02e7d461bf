// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

func TestLongCommandIsBrokenWhereAShellContinues(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 70)
	(&terminal{w: &out}).command("notation", "key", "add", "--id", "pkcs11:token=a;object=b c", "--plugin-config", "module="+long, "name")
	want := "\n$ notation key add --id 'pkcs11:token=a;object=b c' \\\n" +
		"    --plugin-config module=" + long + " \\\n" +
		"    name\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestSwitchWithEqualSignTakesNoValue(t *testing.T) {
	var out bytes.Buffer
	long := strings.Repeat("x", 80)
	(&terminal{w: &out}).command("notation", "sign", "--flag=false", long)
	if want := "\n$ notation sign --flag=false \\\n    " + long + "\n"; out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestQuote(t *testing.T) {
	for arg, want := range map[string]string{
		"plain-1.2/3:4@5=6": "plain-1.2/3:4@5=6",
		"a;b":               "'a;b'",
		"it's":              `'it'\''s'`,
		"":                  "''",
	} {
		if got := quote(arg); got != want {
			t.Errorf("quote(%q) is %s, want %s", arg, got, want)
		}
	}
}

func TestColourIsForTerminalsAlone(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	newTerminal(file, func(string) string { return "" }).heading("Heading")
	written, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(written, '\x1b') {
		t.Errorf("an escape sequence in a file: %q", written)
	}
}

func TestLongLinesOfDocumentsAreCut(t *testing.T) {
	var out bytes.Buffer
	if err := (&terminal{w: &out}).json([]byte(`{"key":"` + strings.Repeat("é", 200) + `"}`)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if got := len([]rune(strings.TrimRight(line, "\n"))); got > width {
			t.Errorf("%d columns: %s", got, line)
		}
	}
}
