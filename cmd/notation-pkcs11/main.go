// SPDX-License-Identifier: Apache-2.0

//go:build !manual

// Command notation-pkcs11 is a plugin for the notation CLI that signs with keys
// in PKCS#11 tokens and HSMs. Notation starts it with one of the commands of the
// plugin contract; people start it with --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/companion"
	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/streams"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// version is set by the linker: a semantic version without a leading v.
var version = "0.0.0-dev"

func main() {
	switch {
	case becomesCommand(os.Args): // whose limits, files and signals are the caller's
	case isAgentServer(os.Args):
		companion.CloseOthers()
		fallthrough
	default:
		host.Main()
		signal.Ignore(syscall.SIGPIPE) // writing fails then, which is reported
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings(os.Args)...)
	context.AfterFunc(ctx, stop) // so that a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:]))
}

// run serves notation, or a person.
func run(ctx context.Context, args []string) int {
	if len(args) == 0 || !plugin.IsCommand(args[0]) {
		return runCommand(ctx, args)
	}
	// One thing is done after the other, and a second processor takes a tenth more time.
	runtime.GOMAXPROCS(1)
	server := plugin.Server{
		Plugin: &plugin.Plugin{Version: version, Opener: hosted.Opener{}, Agent: agent.Client{}, Prompt: hosted.PromptPIN},
		Stdin:  os.Stdin,
		Stdout: streams.Stdout(),
		Stderr: os.Stderr,
	}
	return server.Serve(ctx, args)
}
