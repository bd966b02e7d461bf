// SPDX-License-Identifier: Apache-2.0

// Command notation-pkcs11-action signs and verifies artifacts in registries with
// a key in a PKCS#11 token. It is what the GitHub Action of this repository
// runs, and it runs anywhere else: --help lists its inputs.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/notation-pkcs11/notation-pkcs11/action"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// version is set by the linker: a semantic version without a leading v.
var version = "0.0.0-dev"

func main() {
	host.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	environment, err := withhold()
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: secrets can't be taken out of the environment: %v\n", err)
		return 1
	}
	a := action.Action{
		Version:  version,
		BuiltIn:  newBuiltIn,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Colour:   os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(os.Stdout.Fd())),
		Getenv:   environment.getenv,
		Unsetenv: environment.unsetenv,
	}
	return a.Main(ctx, args)
}
