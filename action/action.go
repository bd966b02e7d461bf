// SPDX-License-Identifier: Apache-2.0

package action

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// Name is the name of the program.
const Name = "notation-pkcs11-action"

// Exit codes of a run.
const (
	exitSuccess = 0
	exitFailure = 1 // something could not be signed or verified
	exitUsage   = 2 // the inputs are wrong; neither a token nor a registry was touched
)

// BuiltIn is the plugin that needs no installation. Its methods are called from
// several goroutines.
type BuiltIn interface {
	contract.SignPlugin
	// Check finds what is wrong with a key id and the plugin config for it. It
	// touches no token.
	Check(keyID string, config map[string]string) error
	// SecretVariables names the environment variables that may hold secrets of a
	// key, whatever key id and config are like. The run takes them out of the
	// environment and hands their values to the plugin alone.
	SecretVariables(keyID string, config map[string]string) []string
	// Close lets go of the tokens that the plugin holds.
	Close() error
}

// BuiltInOptions are what a run gives to its built-in plugin.
type BuiltInOptions struct {
	// Getenv is the environment, with the secrets that the run has taken out of it.
	Getenv func(string) string
	// PIN is the input pin. Empty: it is not set.
	PIN registry.Secret
	// Sessions is how many sessions with a token are opened at most.
	Sessions int
}

// Action is the program, and what it has from the outside.
type Action struct {
	// Version is a semantic version without a leading v.
	Version string
	// BuiltIn makes the built-in plugin.
	BuiltIn func(BuiltInOptions) BuiltIn
	Stdout  io.Writer
	Stderr  io.Writer
	// Colour says whether the log is for a terminal that shows colours.
	Colour bool
	// Getenv reads the environment: inputs, and what the runner says of itself.
	Getenv func(string) string
	// Unsetenv takes secret inputs and PINs out of the environment, once they are
	// read, so that plugins, modules and credential helpers don't get them.
	Unsetenv func(string) error
	// NotationDir is notation's configuration directory, which is only read.
	// Empty: where notation looks for it.
	NotationDir string
	// CacheDir is where runs on this machine leave each other notes of what they
	// have begun. Empty: in the user's cache directory.
	CacheDir string

	// listingLimit is [publish.Options.Limit].
	listingLimit time.Duration
}

// Main does one run and returns the exit code: 0 if all went well, 1 if
// something could not be signed or verified, 2 if the inputs are wrong, and then
// neither a token nor a registry was touched.
func (a *Action) Main(ctx context.Context, args []string) int {
	code := exitSuccess
	command := a.command(&code)
	command.SetArgs(append([]string{}, args...)) // without any, nil would mean those of the process
	if err := command.ExecuteContext(ctx); err != nil {
		a.console().Refuse(err)
		return exitUsage
	}
	return code
}

// command is the command line. The run's exit code goes to code.
func (a *Action) command(code *int) *cobra.Command {
	command := &cobra.Command{
		Use:   Name + " [flags]",
		Short: "Sign and verify OCI artifacts, and report each check",
		Long: `Sign container images and other OCI artifacts with a key in a PKCS#11 token, push
the signatures, verify them against a trust policy, and report each check. The
GitHub Action runs this program, which also runs on any other system.

Each flag is also an environment variable: --key-id is INPUT_KEY_ID. Flags take
precedence. Repeat a flag to give it several lines.

Exit status: 0 if everything succeeded, 1 if an artifact failed to sign or verify,
2 if an input is wrong and nothing was done.`,
		Example: `  ` + Name + ` \
      --mode sign-and-verify \
      --target-artifact-reference registry.example/app@sha256:... \
      --key-id 'pkcs11:token=Release;object=signing' \
      --trusted-certificates root.pem
  ` + Name + ` \
      --mode verify \
      --target-artifact-reference registry.example/app@sha256:... \
      --trust-policy trustpolicy.json --trust-store truststore`,
		Version:       a.Version,
		Args:          noArguments,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	values := addFlags(command)
	command.SetOut(a.Stdout)
	command.SetErr(a.Stderr)
	command.SetFlagErrorFunc(nameNearFlag)
	command.RunE = func(command *cobra.Command, _ []string) error {
		in, err := parseInputs(func(i input) string {
			if value := values[i.name]; value.set {
				return value.text
			}
			return a.Getenv(i.variable())
		})
		for _, name := range secretVariables() {
			err = errors.Join(err, a.Unsetenv(name))
		}
		if err != nil {
			return err
		}
		*code, err = a.run(command.Context(), in)
		return err
	}
	return command
}

// noArguments refuses arguments: all is given by flags.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown argument %s; write --name=value, or --name alone for true", report.Quote(args[0]))
	}
	return nil
}

// run does a run and delivers its report. The error is a mistake in the inputs.
func (a *Action) run(ctx context.Context, in inputs) (code int, err error) {
	console := a.console()
	key := a.chooseKey(in)
	builtIn, pins, err := a.holdPINs(in, key)
	console.Mask(append(pins.reveal(), in.pin.Reveal(), in.registryPassword.Reveal(), in.sourcePassword.Reveal())...)
	if err != nil {
		return 0, errors.Join(err, builtIn.Close())
	}
	p, err := a.prepare(ctx, in, key, builtIn)
	if err != nil {
		return 0, err
	}
	file, err := report.OpenFile(in.report, a.Getenv("GITHUB_WORKSPACE"), a.Getenv("RUNNER_TEMP"), Name)
	if err != nil {
		return 0, errors.Join(err, p.close())
	}
	defer file.Close()
	r := &report.Report{
		FormatVersion: report.FormatVersion,
		Tool:          report.Tool{Name: Name, Version: a.Version},
		Mode:          string(in.mode),
		Started:       time.Now().UTC(),
		Artifacts:     []report.Artifact{},
		Warnings:      p.warnings,
	}
	p.execute(ctx, console, r)
	if err := p.close(); err != nil {
		r.Warnings = append(r.Warnings, report.Message(err))
	}
	r.Finished = time.Now().UTC()
	r.Succeeded = len(r.Errors) == 0 && r.Count().Failed == 0
	deliver(console, file, a.Getenv("RUNNER_TEMP"), r)
	if !r.Succeeded {
		return exitFailure, nil
	}
	return exitSuccess, nil
}

// execute does the run, and puts into the report what came of it.
func (p *preparation) execute(ctx context.Context, console *report.Console, r *report.Report) {
	run, err := p.start(ctx, console.Progress)
	if err != nil {
		r.Errors = append(r.Errors, report.Message(err))
		return
	}
	defer run.registries.Close()
	defer func() { r.ChangeForeign(run.registries.Redact) }() // before anything is shown
	artifacts, err := run.do(ctx)
	if err != nil {
		r.Errors = append(r.Errors, report.Message(err))
	}
	for _, artifact := range artifacts {
		r.Artifacts = append(r.Artifacts, artifact.report())
	}
}

func (a *Action) console() *report.Console {
	return report.NewConsole(report.ConsoleOptions{Name: Name, Stdout: a.Stdout, Stderr: a.Stderr, Colour: a.Colour, Getenv: a.Getenv})
}

// notationDir is notation's configuration directory. Its plugins are in there
// too. It is empty where there is none: notation looks into the current directory
// then, where a checkout could say whom to trust.
func (a *Action) notationDir() string {
	if a.NotationDir != "" {
		return a.NotationDir
	}
	if named := a.Getenv("NOTATION_CONFIG"); named != "" {
		return named
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(config, "notation")
}

// journalDir is where the pusher notes what it has begun. Without a cache
// directory there are no notes.
func (a *Action) journalDir() string {
	cache := a.CacheDir
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(user, Name)
	}
	return filepath.Join(cache, "begun")
}
