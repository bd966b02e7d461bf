// SPDX-License-Identifier: Apache-2.0

// Command secretwatch runs a test suite and looks for the tests' secrets in
// everything that the suite leaves behind or shows on its way: the arguments and
// environments of all its processes, each file that was ever in its temporary
// directory, what it printed, and the files with which a workflow's step talks to
// the runner.
//
//	secretwatch -output .cache/test.json -- go test -json ./...
//
// Tests hold these secrets on purpose, so there is a table of where they may be
// (allowed.go). What is found elsewhere fails the run.
//
// It looks now and then, and does not trace: a process that lives for less than
// some ten milliseconds may not be seen, nor a file that is gone as
// fast, nor what a file had before it was overwritten while it was open. As any user
// but root it sees the environment of a process only until that closes itself to
// others. Package leak has what misses nothing, for single runs.
//
// Start with watch.run.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

func main() {
	output := flag.String("output", "", "a `file` that the command writes and that is looked through in the end")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: secretwatch [-output FILE] -- COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	w := watch{
		finder: leak.NewFinder(
			leak.Secret{Name: thePIN, Value: testenv.UserPIN},
			leak.Secret{Name: theSOPIN, Value: testenv.SOPIN},
			leak.Secret{Name: thePassword, Value: testenv.RegistryPassword},
		),
		allowed: allowed,
		command: flag.Args(),
		outputs: append(runnerFiles(os.Getenv), *output),
	}
	os.Exit(w.main(os.Stderr))
}

// runnerFiles are those with which a step of a workflow talks to the runner.
func runnerFiles(getenv func(string) string) []string {
	var files []string
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STATE", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"} {
		files = append(files, getenv(name))
	}
	return files
}
