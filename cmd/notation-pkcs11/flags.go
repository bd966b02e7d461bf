// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// settingFlags are the flags of all commands that load a module. Each is one of
// the plugin's settings, under the same name but for its underscores.
var settingFlags = []struct{ key, usage string }{
	{"module", "`PATH` of the PKCS#11 module (default: $NOTATION_PKCS11_MODULE, then p11-kit's proxy)"},
	{"pin_source", "read the PIN from file:PATH or env:NAME, as `SOURCE` (default: $NOTATION_PKCS11_PIN_SOURCE, then $NOTATION_PKCS11_PIN, then a prompt)"},
	{"cert_chain", "`FILE` with certificates not stored on the token, in PEM, PKCS#7 or DER (default: $NOTATION_PKCS11_CERT_CHAIN)"},
	{"timeout", "`DURATION` that the command may take, such as 90s (default: $NOTATION_PKCS11_TIMEOUT, then 60s)"},
	{"user_type", "user `TYPE` for the login: user, or a vendor's number such as 0x80000001 (default: user)"},
	{"init_args", "`ARGUMENTS` for the module's C_Initialize (NSS)"},
	{"sandbox", "what the module may do, as `RULES` such as read:/etc/softhsm,write:/var/lib/softhsm,connect:2321 (check --learn-sandbox prints them)"},
	{"no_new_privs", "`true|false`; with false, the module can start setuid programs (default: true)"},
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// invocation is a command's command line.
type invocation struct {
	cmd    *cobra.Command
	format string
}

// The forms of output.
const (
	formatText = "text"
	formatJSON = "json"
)

// tokenCommand makes a command of what all commands that load a module have, but for
// the settings that it goes without.
func tokenCommand(cmd *cobra.Command, run func(*invocation, context.Context, []string) error, without ...string) *cobra.Command {
	i := &invocation{cmd: cmd}
	for _, f := range settingFlags {
		if !slices.Contains(without, f.key) {
			cmd.Flags().String(flagName(f.key), "", f.usage)
		}
	}
	cmd.Flags().StringVar(&i.format, "output", formatText, "form of the output, `text|json`")
	completeWith(cmd, "output", formatText, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("output", i.format, []string{formatText, formatJSON}); err != nil {
			return explained(err)
		}
		return explained(run(i, cmd.Context(), args))
	}
	return cmd
}

// completeWith has the shell complete a flag with words.
func completeWith(cmd *cobra.Command, flag string, words ...string) {
	// It fails for a flag that isn't there, which tests would see.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// config is what the flags say, as the plugin config would.
func (i *invocation) config() map[string]string {
	config := map[string]string{}
	for _, f := range settingFlags {
		if flag := i.cmd.Flags().Lookup(flagName(f.key)); flag != nil && flag.Changed { // the agent has no cert-chain
			config[f.key] = flag.Value.String()
		}
	}
	return config
}

// settings are those of the plugin, of the URI, the flags and the environment.
func (i *invocation) settings(uri string) (plugin.Settings, error) {
	return plugin.ParseSettings(uri, i.config(), os.Getenv, hosted.PromptPIN)
}

// screen is where the command's result goes.
func (i *invocation) screen() screen { return newScreen(i.cmd.OutOrStdout()) }

// notes is where remarks go that are no part of the result.
func (i *invocation) notes() screen { return newScreen(i.cmd.ErrOrStderr()) }

// next says, to people, which command comes next.
func (i *invocation) next(why string, command ...string) {
	if i.format == formatText {
		i.notes().note("next, %s: %s", why, shellQuote(append([]string{"notation-pkcs11"}, command...)...))
	}
}

// with loads the module and lends it to use, within the timeout. Errors are of
// the type *failure.
func (i *invocation) with(ctx context.Context, s plugin.Settings, use func(context.Context, *host.Module) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	err := i.lendModule(ctx, s, use)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx)) // which names the signal
	}
	return fail(err, s)
}

func (i *invocation) lendModule(ctx context.Context, s plugin.Settings, use func(context.Context, *host.Module) error) error {
	config, err := hosted.Config(s)
	if err != nil {
		return err
	}
	proxy := hosted.WatchProxy(ctx, s, &config)
	defer proxy.Stop()
	m, _, err := host.Load(ctx, config)
	if err != nil {
		return proxy.Explain(err)
	}
	// What Close says comes too late: the work is done, or there is a better
	// error.
	defer m.Close()
	if err := use(ctx, m); err != nil {
		return proxy.Explain(err)
	}
	if proxy != nil {
		i.notes().note("%s", proxy)
	}
	return nil
}

// fail makes a failure of an error, unless it is one.
func fail(err error, s plugin.Settings) error {
	var f *failure
	if err == nil || errors.As(err, &f) {
		return err
	}
	return &failure{error: err, settings: s}
}

// asFlags turns what the plugin says of its config into words for people who
// type flags.
func asFlags(text string) string {
	var odd []string // keys that are no words of a sentence
	for _, f := range settingFlags {
		text = regexp.MustCompile(`(the )?plugin config "?`+f.key+`\b"?`).ReplaceAllString(text, "--"+flagName(f.key))
		if strings.Contains(f.key, "_") {
			odd = append(odd, f.key)
		}
	}
	bare := regexp.MustCompile(`(^|[ (])(` + strings.Join(odd, "|") + `)([ ,;:=.)]|$)`)
	return bare.ReplaceAllStringFunc(text, func(match string) string {
		for _, key := range odd {
			match = strings.Replace(match, key, "--"+flagName(key), 1)
		}
		return match
	})
}

// oneURI is the argument check of commands that take a URI.
func oneURI(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("%s takes one PKCS#11 URI, in quotes, such as 'pkcs11:token=LABEL;object=LABEL'; it got %s", cmd.CommandPath(), plural(len(args), "argument", "arguments"))
}

// oneOf returns an error if a value is none of those known.
func oneOf(flag, value string, known []string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("unknown --%s %q; use one of %s", flag, value, strings.Join(known, ", "))
}
