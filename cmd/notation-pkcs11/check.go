// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/internal/sandbox"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

func checkCommand() *cobra.Command {
	learn := false
	cmd := tokenCommand(&cobra.Command{
		Use:   "check URI",
		Short: "Test a key up to a real signature",
		Long: `Test a key the way notation uses it: load the module, find the token, log in,
find the key, check that notation can use it, choose the mechanism, find and check
the certificate chain, make a signature and verify it. Each step is printed with
its time; a failed step, with what to do. The output ends with the command that adds
the key to notation's key list.

The exit status is 0 only if a real signature was made and verified, and notation
accepts the certificate chain. The PIN is used for one login attempt. Nothing on
the token is changed, and the test signature is over meaningless data.

With --learn-sandbox, the module runs under strace, and the output ends with the
sandbox in which the module can do the same again. Meanwhile, other processes of
the same user can read the module's process.`,
		Example: `  notation-pkcs11 check 'pkcs11:token=Release;object=signing' --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 check 'pkcs11:token=Release;object=signing' --cert-chain chain.pem --output json
  notation-pkcs11 check 'pkcs11:token=Release;object=signing' --learn-sandbox`,
		Args: oneURI,
	}, func(i *invocation, ctx context.Context, args []string) error { return i.check(ctx, args, learn) })
	cmd.Flags().BoolVar(&learn, "learn-sandbox", false, "run the module under strace, and print the sandbox that it needs")
	return cmd
}

// checkResult is the JSON of the command check.
type checkResult struct {
	URI string `json:"uri"`
	plugin.Report
	// KeyAdd are the arguments of notation that give the key a name, if it can
	// be used.
	KeyAdd []string `json:"keyAdd,omitempty"`
	// FIPS140 is the version of the Go Cryptographic Module that runs in FIPS
	// 140-3 mode, or "off". It says nothing of the token.
	FIPS140 string `json:"fips140"`
	// Sandbox is what was learned, with --learn-sandbox, and Programs are those that
	// the module ran, which it can't do there.
	Sandbox  string   `json:"sandbox,omitempty"`
	Programs []string `json:"programs,omitempty"`
}

const fips140Off = "off"

func (i *invocation) check(ctx context.Context, args []string, learn bool) error {
	s, err := i.settings(args[0])
	if err != nil {
		return err
	}
	if learn && s.Sandbox != nil {
		return errors.New("--learn-sandbox and --sandbox are both set; use only one")
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	p := &probe{settings: s}
	if learn {
		remove, err := p.traced()
		if err != nil {
			return fail(err, s)
		}
		defer remove()
	}
	defer p.close()
	result := checkResult{URI: s.URI.String(), Report: plugin.Check(ctx, p, s, time.Now()), FIPS140: fips140Off}
	if fips140.Enabled() {
		result.FIPS140 = fips140.Version()
	}
	if !result.Usable && errors.Is(ctx.Err(), context.Canceled) { // whose steps failed by that alone
		return fail(fmt.Errorf("interrupted: %w", context.Cause(ctx)), s) // which names the signal
	}
	config := i.config()
	if learn && p.module != nil {
		p.close() // so that what it does last is seen, too
		learned, err := p.learned()
		if err != nil {
			return fail(err, s)
		}
		result.Sandbox, result.Programs = learned.String(), learned.Programs
		config["sandbox"] = result.Sandbox
	}
	if result.Usable {
		if result.KeyAdd, err = plugin.KeyAddArguments(s.URI, config, os.Getenv); err != nil {
			return fail(err, s)
		}
		result.KeyAdd = append(result.KeyAdd, keyName(s.URI))
	}
	for n, step := range result.Steps {
		result.Steps[n].Found, result.Steps[n].Problem, result.Steps[n].Advice = asFlags(step.Found), asFlags(step.Problem), asFlags(step.Advice)
	}
	for n, c := range result.Certificates {
		result.Certificates[n].Why = asFlags(c.Why)
	}
	if i.format == formatJSON {
		err = i.screen().json(result)
	} else {
		err = i.screen().check(result)
	}
	if err != nil || result.Usable {
		return unsaid("", err)
	}
	n := slices.IndexFunc(result.Steps, func(step plugin.Step) bool { return step.Outcome == plugin.OutcomeFailed })
	return &failure{error: fmt.Errorf("notation can't sign with this key: %s", shortened(result.Steps[n].Problem)), settings: s}
}

// shortened bounds what the error repeats of the table.
func shortened(problem string) string {
	const most = 300
	if len(problem) <= most {
		return problem
	}
	return strings.ToValidUTF8(problem[:most], "") + "…"
}

// keyName proposes a name for the key in notation.
func keyName(u pkcs11.URI) string {
	label, _ := u.Value(pkcs11.AttrObject)
	if regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`).MatchString(label) {
		return label
	}
	return "my-key"
}

// probe takes the steps in a module host.
type probe struct {
	settings plugin.Settings
	trace    string // where strace writes; "" without it
	path     string // of the module
	module   *host.Module
	proxy    *hosted.Proxy // nil where a module is set
}

// traced has the module run under strace.
func (p *probe) traced() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "notation-pkcs11-")
	if err != nil {
		return nil, err
	}
	p.trace = filepath.Join(dir, "trace")
	return func() { os.RemoveAll(dir) }, nil
}

// learned reads what strace wrote.
func (p *probe) learned() (sandbox.Learned, error) {
	f, err := os.Open(p.trace)
	if err != nil {
		return sandbox.Learned{}, err
	}
	defer f.Close()
	return sandbox.Learn(f, p.path)
}

// Load implements plugin.Probe.
func (p *probe) Load(ctx context.Context) (string, pkcs11.ModuleInfo, error) {
	config, err := hosted.Config(p.settings)
	if err != nil {
		return "", pkcs11.ModuleInfo{}, err
	}
	config.Trace, p.path = p.trace, config.Module
	p.proxy = hosted.WatchProxy(ctx, p.settings, &config)
	var info pkcs11.ModuleInfo
	p.module, info, err = host.Load(ctx, config)
	if p.proxy != nil {
		return fmt.Sprintf("%s: %s", config.Module, p.proxy), info, p.proxy.Explain(err)
	}
	return config.Module, info, err
}

// Token implements plugin.Probe.
func (p *probe) Token(ctx context.Context) (pkcs11.TokenStatus, error) {
	token, err := p.module.Token(ctx)
	return token, p.proxy.Blame(err) // what is loaded is said by Load
}

// Login implements plugin.Probe.
func (p *probe) Login(ctx context.Context) error { return p.module.Login(ctx, false) }

// Key implements plugin.Probe.
func (p *probe) Key(ctx context.Context) (plugin.ProbedKey, error) {
	key, err := p.module.Key(ctx)
	if err != nil {
		return nil, err // not a nil *host.Key in a plugin.ProbedKey
	}
	return key, nil
}

// close ends the module host. What it says comes too late for the steps.
func (p *probe) close() {
	p.proxy.Stop()
	if p.module != nil {
		p.module.Close()
		p.module = nil
	}
}

// stepTitles are the steps as people read them.
var stepTitles = map[string]string{
	"module":       "module loads",
	"token":        "token found",
	"login":        "login",
	"key":          "key found",
	"usable":       "usable for signing",
	"mechanism":    "mechanism chosen",
	"certificates": "certificate chain",
	"signature":    "test signature",
}

var outcomeColours = map[plugin.Outcome]colour{
	plugin.OutcomeOK: green, plugin.OutcomeWarning: yellow, plugin.OutcomeFailed: red, plugin.OutcomeSkipped: plain,
}

func (s screen) check(result checkResult) error {
	rows := [][]string{{s.paint(plain, "STEP"), "", "TIME", "RESULT"}}
	add := func(outcome, title, took, text string) { rows = append(rows, []string{outcome, title, took, text}) }
	for _, step := range result.Steps {
		took := fmt.Sprintf("%.1f ms", float64(step.Duration)/float64(time.Millisecond))
		if step.Outcome == plugin.OutcomeSkipped {
			took = "-"
		}
		texts := slices.DeleteFunc([]string{step.Found, step.Problem}, func(text string) bool { return text == "" })
		for _, uri := range step.Candidates {
			texts = append(texts, "  "+uri)
		}
		if step.Advice != "" {
			texts = append(texts, step.Advice+".")
		}
		for n, text := range append(texts, "")[:max(len(texts), 1)] {
			if n == 0 {
				add(s.paint(outcomeColours[step.Outcome], string(step.Outcome)), stepTitles[step.Name], took, text)
			} else {
				add(s.paint(plain, ""), "", "", text)
			}
		}
	}
	if err := s.table(rows); err != nil {
		return err
	}
	if err := s.sandbox(result); err != nil {
		return err
	}
	if result.FIPS140 != fips140Off {
		if _, err := fmt.Fprintf(s, "\nThis program is in FIPS 140-3 mode, with the Go Cryptographic Module %s.\n", result.FIPS140); err != nil {
			return err
		}
	}
	if !result.Usable {
		return nil
	}
	_, err := fmt.Fprintf(s, "\nNotation can sign with this key. To add it to notation's key list:\n\n  %s\n",
		shellQuote(append([]string{"notation"}, result.KeyAdd...)...))
	return err
}

// sandbox prints what was learned.
func (s screen) sandbox(result checkResult) error {
	if result.Sandbox == "" {
		return nil
	}
	for _, program := range result.Programs {
		if _, err := fmt.Fprintf(s, "\nThe module runs %s, which it can't do in a sandbox.\n", visible(program)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(s, "\nThe module does the same again in this sandbox:\n\n  --plugin-config %s\n\nCheck it:\n\n  %s\n",
		shellQuote("sandbox="+result.Sandbox), shellQuote("notation-pkcs11", "check", result.URI, "--sandbox", result.Sandbox))
	return err
}
