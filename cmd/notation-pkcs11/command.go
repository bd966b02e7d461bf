// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	refuseUnknownNames(root)
	cmd, err := root.ExecuteContextC(ctx)
	var f *failure
	if out.err != nil && !errors.As(err, &f) { // of the help and the completions, which cobra prints
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

Find a key and check that notation can sign with it:

  notation-pkcs11 tokens --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 keys 'pkcs11:token=Release' --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 check 'pkcs11:token=Release;object=signing' --module /usr/lib/softhsm/libsofthsm2.so

Install the plugin in notation, add the key to notation's key list, and sign:

  notation plugin install --file /path/to/notation-pkcs11
  notation key add release --plugin pkcs11 \
      --id 'pkcs11:token=Release;object=signing' \
      --plugin-config module=/usr/lib/softhsm/libsofthsm2.so \
      --plugin-config pin_source=file:/path/to/pin
  notation sign --key release registry.example/app@sha256:...

Exit status of all commands: 0 if the work was done and its result was written, 1 if
it failed, 2 if the command line is wrong and nothing was done.`,
		Version:       version,
		Args:          knownCommand,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		tokensCommand(), keysCommand(), checkCommand(),
		generateKeyCommand(), csrCommand(), importCertCommand(), selfSignCommand(),
		agentCommand(), agentServerCommand(), auditCommand(), versionCommand(),
	)
	root.SetFlagErrorFunc(nameNearFlag)
	return root
}

// knownCommand is the argument check of a command that has commands below it.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return orMean(fmt.Errorf("unknown command %q", args[0]), "", args[0], names)
}

// refuseUnknownNames has the commands that cobra adds refuse what isn't there, where
// cobra would print some help and succeed. The output must have been set before.
func refuseUnknownNames(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				found, rest, err := root.Find(args)
				if err != nil {
					return err
				}
				return knownCommand(found, rest)
			}
		case "completion":
			c.Args = knownCommand
			c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
}

// nameNearFlag adds the flag that may have been meant to the error of one that is
// unknown.
func nameNearFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return orMean(err, "--", unknown.GetSpecifiedName(), names)
}

// orMean offers, at the end of an error, the names that are near to one that was typed;
// cobra knows which are, of commands.
func orMean(err error, prefix, typed string, names []string) error {
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		all.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	near := all.SuggestionsFor(typed)
	if len(near) == 0 {
		return err
	}
	return explained(fmt.Errorf("%w; did you mean %s?", err, prefix+strings.Join(near, " or "+prefix)))
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

// selfExplaining is an error of the command line that says itself what is wrong with a
// value; for others there is --help.
type selfExplaining struct{ error }

func (e selfExplaining) Unwrap() error { return e.error }

func explained(err error) error {
	if err == nil {
		return nil
	}
	return selfExplaining{err}
}

// withoutPath returns an error of a file without its operation and path, for a text that
// has them.
func withoutPath(err error) error {
	var failed *os.PathError
	if errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// failure is an error of a command that ran. Any other error is of the command
// line.
type failure struct {
	error
	settings plugin.Settings // with which it failed
	hint     string          // what to do, where the error doesn't say
	code     int             // the exit code; 0: exitFailed
	key      int             // of several, the number of the one that failed
}

func (f *failure) Unwrap() error { return f.error }

// unsaid makes a failure of a result that could not be printed. What was done
// is a clause such as "the key was generated"; empty, nothing was changed.
func unsaid(done string, err error) error {
	if err == nil {
		return nil
	}
	err = withoutPath(err) // which says nothing: a closed stream's is the null device's
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
		if flags, missing := strings.CutPrefix(what, `required flag(s) "`); missing { // cobra's
			what = "--" + strings.ReplaceAll(strings.TrimSuffix(flags, `" not set`), `", "`, " and --") + " must be set"
		}
		todo := "Run " + cmd.CommandPath() + " --help"
		if errors.As(err, new(selfExplaining)) {
			todo = ""
		}
		s.error(asFlags(what), todo)
		return exitUsage
	}
	what, todo := plugin.Explain(f.error, f.settings)
	if f.hint != "" {
		todo = f.hint
	}
	if !strings.Contains(cmd.Use, "URI") { // no such argument could name the module
		todo = strings.Replace(todo, "module-path in the URI, ", "", 1)
	}
	s.error(asFlags(what), asFlags(todo))
	return cmp.Or(f.code, exitFailed)
}
