// SPDX-License-Identifier: Apache-2.0

// Command lab makes a world to sign in, and deletes all of it at the end: a
// SoftHSM token with keys, their certificates, a trust policy, the notation
// command, and registries with and without the Referrers API.
//
//	lab demo            shows how images are signed, and what that adds to a registry
//	lab keep            says where everything is, and keeps it until Ctrl-C
//	lab workflow FILE   does so for .github/workflows/selftest.yml
//
// "make demo" and "make lab" build the plugin and run it. DEMO_REGISTRY=registry2
// makes the registry without the Referrers API a docker-registry process. Start
// from the function of the same name; each is its subject from top to bottom.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// pluginPath is where "make build" puts the plugin.
const pluginPath = "bin/notation-pkcs11"

func main() {
	os.Exit(lab(os.Args[1:]))
}

func lab(args []string) int {
	signal.Ignore(syscall.SIGPIPE) // a reader that leaves early must not keep the world from being deleted
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	out := newTerminal(os.Stdout, os.Getenv)
	var err error
	switch {
	case len(args) == 1 && args[0] == "demo":
		err = demo(ctx, out, pluginPath, os.Getenv("DEMO_REGISTRY"))
	case len(args) == 1 && args[0] == "keep":
		err = keep(ctx, out, pluginPath, os.Getenv("DEMO_REGISTRY"))
	case len(args) == 2 && args[0] == "workflow":
		err = workflow(ctx, args[1])
	default:
		fmt.Fprintln(os.Stderr, "usage: lab demo\n       lab keep\n       lab workflow FILE")
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 1
	}
	return 0
}
