// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// The test binary is the executable of the scripts, and its module host.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == leak.HostArgument { // else the tests' own limits would change
		host.Main()
	}
	testscript.Main(tests{m}, map[string]func(){"notation-pkcs11": main})
}

// tests are the tests of the binary, after which what was built goes.
type tests struct{ *testing.M }

func (t tests) Run() int {
	defer func() { os.RemoveAll(built.dir) }()
	return t.M.Run()
}

// built is the executable as users get it.
var built struct {
	once   sync.Once
	dir    string
	output []byte
	err    error
}

// buildPlugin returns the path of the executable as users get it, which the first
// test that asks for it builds.
func buildPlugin(tb testing.TB) string {
	tb.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "notation-pkcs11-"); built.err == nil {
			built.output, built.err = exec.Command("go", "build", "-trimpath", "-o", built.dir+"/", ".").CombinedOutput()
		}
	})
	if built.err != nil {
		tb.Fatalf("go build: %v\n%s", built.err, built.output)
	}
	return filepath.Join(built.dir, "notation-pkcs11")
}
