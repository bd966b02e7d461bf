// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Exit codes of the commands for people.
const (
	exitFailed = 1 // the work could not be done
	exitUsage  = 2 // the command line was wrong: nothing was done
)

// runCommand runs the commands for people and returns the exit code.
func runCommand(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	return explain(newScreen(os.Stderr), cmd, err)
}

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
			return err
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
