// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/streams"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Exit codes of the commands for people.
const (
	exitFailed = 1 // the work could not be done
	exitUsage  = 2 // the command line was wrong: nothing was done
)

// runCommand runs the commands for people and returns the exit code.
func runCommand(ctx context.Context, args []string) int {
	root, out := newRoot(), &output{file: streams.Stdout()}
	root.SetArgs(args)
	root.SetOut(out)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil { // of the help, which cobra prints
		err = unsaid("", out.err)
	}
	if err == nil {
		return 0
	}
	return explain(newScreen(os.Stderr), cmd, err)
}

// output is standard output, which remembers that it couldn't be written.
type output struct {
	file *os.File
	err  error // of the first write that failed
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

// Fd lets a screen see whether it is a terminal.
func (o *output) Fd() uintptr { return o.file.Fd() }

// newRoot makes the command with all that are below it.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "notation-pkcs11",
		Short: "Sign with keys in PKCS#11 tokens and HSMs",
		Long: `notation-pkcs11 is a plugin for the notation CLI. It signs container images and
other OCI artifacts with keys in PKCS#11 tokens and HSMs. The keys stay there.

Find a key and see whether notation can sign with it:

  notation-pkcs11 tokens --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 keys 'pkcs11:token=LABEL' --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 check 'pkcs11:token=LABEL;object=LABEL' --module /usr/lib/softhsm/libsofthsm2.so

Install the plugin into notation, name a key, sign:

  notation plugin install --file /path/to/notation-pkcs11
  notation key add release --plugin pkcs11 \
      --id 'pkcs11:token=LABEL;object=LABEL' \
      --plugin-config module=/usr/lib/softhsm/libsofthsm2.so \
      --plugin-config pin_source=file:/path/to/pin
  notation sign --key release registry.example/image@sha256:...`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		tokensCommand(), keysCommand(), checkCommand(),
		generateKeyCommand(), csrCommand(), importCertCommand(), selfSignCommand(),
		versionCommand(),
	)
	return root
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version)
			return unsaid("", err)
		},
	}
}

// failure is an error of a command that ran. Any other error is of the command
// line.
type failure struct {
	error
	settings plugin.Settings // with which it failed
	hint     string          // what to do, where the error doesn't say
}

func (f *failure) Unwrap() error { return f.error }

// unsaid makes a failure of a result that could not be printed. What was done
// is a clause such as "the key was generated"; empty, nothing was changed.
func unsaid(done string, err error) error {
	if err == nil {
		return nil
	}
	var path *os.PathError // whose name says nothing: a closed stream's is the null device's
	if errors.As(err, &path) {
		err = path.Err
	}
	what := "the result can't be written to standard output"
	if done != "" {
		what = done + ", but " + what
	}
	return &failure{error: fmt.Errorf("%s: %w", what, err)}
}

// explain says what failed and what to do, and returns the exit code.
func explain(s screen, cmd *cobra.Command, err error) int {
	var f *failure
	if !errors.As(err, &f) {
		what, _ := plugin.Explain(err, plugin.Settings{})
		s.error(asFlags(what), cmd.CommandPath()+" --help shows how it is used")
		return exitUsage
	}
	what, todo := plugin.Explain(f.error, f.settings)
	if f.hint != "" {
		todo = f.hint
	}
	s.error(asFlags(what), asFlags(todo))
	return exitFailed
}
