// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// planted is a secret of this test alone, written so that no watch around it finds
// it in this file.
var planted = strings.Join([]string{"planted", "9Kq3"}, "-")

// What a command leaves behind, or shows on its way, is found, and fails it.
func TestPlantedLeaksAreFound(t *testing.T) {
	output := filepath.Join(t.TempDir(), "output")
	for name, test := range map[string]struct {
		script string // in the shell; $0 is the secret, in hexadecimal escapes of printf
		found  string // "" if nothing is to be found
		code   int
	}{
		"nothing":                          {`echo secret >$TMPDIR/x`, "", 0},
		"a file":                           {`printf $0 >$TMPDIR/x`, "in file x", 1},
		"a file that is deleted":           {`printf $0 >$TMPDIR/x; sleep 0.5; rm $TMPDIR/x`, "in file x", 1},
		"a file that is overwritten":       {`printf $0 >$TMPDIR/x; sleep 0.5; echo >$TMPDIR/x`, "in file x", 1},
		"a file that is renamed":           {`printf $0 >$TMPDIR/x; mv $TMPDIR/x $TMPDIR/y`, "in file", 1},
		"a file in new directories":        {`mkdir -p $TMPDIR/a/b/c; printf $0 >$TMPDIR/a/b/c/x; sleep 0.5; rm -r $TMPDIR/a`, "in file a/b/c/x", 1},
		"an encoded one":                   {`printf $0 | base64 >$TMPDIR/x`, "(base64) in file x", 1},
		"a core dump":                      {`{ printf '\177ELF\002\001\001\0\0\0\0\0\0\0\0\0\004\0'; printf $0; } >$TMPDIR/core`, "in file core", 1},
		"a program":                        {`{ printf '\177ELF\002\001\001\0\0\0\0\0\0\0\0\0\003\0'; printf $0; } >$TMPDIR/program`, "", 0},
		"what is linked":                   {`mkdir $TMPDIR/go-link-1; sleep 0.5; printf $0 >$TMPDIR/go-link-1/go.o; sleep 0.5`, "", 0},
		"an argument":                      {`sh -c 'sleep 2; :' "$(printf $0)"`, "in arguments sh", 1},
		"an environment":                   {`NAME=$(printf $0) sleep 2`, "in environment sleep NAME", 1},
		"a process without parents":        {`(NAME=$(printf $0) setsid sleep 2 &) ; sleep 2`, "in environment sleep NAME", 1},
		"an output":                        {`printf $0 >` + output, "in output " + output, 1},
		"where it may be":                  {`printf $0 >$TMPDIR/allowed`, "", 0},
		"a failure of the command's own":   {`exit 3`, "", 3},
		"a failure of the command, and it": {`printf $0 >$TMPDIR/x; exit 3`, "in file x", 3},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(output, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			var digits strings.Builder
			for _, c := range []byte(planted) {
				digits.WriteString(`\` + string([]byte{'0' + c>>6, '0' + c>>3&7, '0' + c&7}))
			}
			w := watch{
				finder:  leak.NewFinder(leak.Secret{Name: "the planted secret", Value: planted}),
				allowed: []rule{{inFile, "the planted secret", "allowed", "", "for this test"}},
				command: []string{"sh", "-c", test.script, digits.String()},
				outputs: []string{output, "", filepath.Join(t.TempDir(), "absent")},
			}
			var out bytes.Buffer
			code := w.main(&out)
			if code != test.code || strings.Contains(out.String(), "found the planted secret") != (test.found != "") || !strings.Contains(out.String(), test.found) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, test.code, test.found, &out)
			}
			if strings.Contains(out.String(), planted) {
				t.Errorf("the secret itself is told:\n%s", &out)
			}
		})
	}
}

// Who interrupts it is left no files of the tests.
func TestInterruptLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	w := watch{finder: leak.NewFinder(), command: []string{"sh", "-c", `echo >$TMPDIR/x; kill -INT $PPID; exec sleep 600`}}
	var out bytes.Buffer
	if code := w.main(&out); code != 1 || !strings.Contains(out.String(), "interrupted") {
		t.Errorf("exit code %d:\n%s", code, &out)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
