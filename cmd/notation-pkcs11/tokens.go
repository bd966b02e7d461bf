// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

func tokensCommand() *cobra.Command {
	return tokenCommand(&cobra.Command{
		Use:   "tokens",
		Short: "List the tokens of a module, and the state of their PINs",
		Long: `List every token that a PKCS#11 module shows: its label, model and serial number,
the URI that selects it, and the state of its PIN. The command doesn't log in, so
--pin-source, --user-type and --cert-chain are checked but not used, and the
counts cover what is visible without a login. Most tokens show private keys only
after a login (see notation-pkcs11 keys).`,
		Example: `  notation-pkcs11 tokens --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 tokens --output json   # of p11-kit's proxy: all modules registered with it`,
		Args: cobra.NoArgs,
	}, (*invocation).tokens)
}

// tokensResult is the JSON of the command tokens.
type tokensResult struct {
	Tokens []tokenResult `json:"tokens"`
}

type tokenResult struct {
	Label           string `json:"label"`
	Model           string `json:"model"`
	Manufacturer    string `json:"manufacturer"`
	Serial          string `json:"serial"`
	URI             string `json:"uri,omitempty"` // selects it; nothing selects one that was never initialized
	SlotID          uint   `json:"slotId"`
	SlotDescription string `json:"slotDescription"`
	Initialized     bool   `json:"initialized"`
	// PIN is "set", "not-set", "to-be-changed", "count-low" (a wrong one was
	// tried), "final-try" or "locked".
	PIN            string `json:"pin"`
	PINPad         bool   `json:"pinPad"` // the token asks for the PIN itself
	LoginRequired  bool   `json:"loginRequired"`
	WriteProtected bool   `json:"writeProtected"`
	// Visible is what the token shows without a login; null where it can't be
	// asked, and Problem says why.
	Visible *visibleResult `json:"visibleWithoutLogin"`
	Problem string         `json:"problem,omitempty"`
}

type visibleResult struct {
	PrivateKeys  int `json:"privateKeys"`
	PublicKeys   int `json:"publicKeys"`
	Certificates int `json:"certificates"`
}

// pinStates are the states of a PIN, by the token's flags; the first that
// applies is shown.
var pinStates = []struct {
	flag uint // 0: any
	name string
	look colour
}{
	{pkcs11.FlagPINLocked, "locked", red},
	{pkcs11.FlagPINFinalTry, "final-try", red},
	{pkcs11.FlagPINCountLow, "count-low", yellow},
	{pkcs11.FlagPINToBeChanged, "to-be-changed", yellow},
	{pkcs11.FlagPINSet, "set", green},
	{0, "not-set", yellow},
}

func (i *invocation) tokens(ctx context.Context, _ []string) error {
	s, err := i.settings("pkcs11:")
	if err != nil {
		return err
	}
	var tokens []pkcs11.TokenStatus
	err = i.with(ctx, s, func(ctx context.Context, m *host.Module) (err error) {
		tokens, err = m.Survey(ctx)
		return err
	})
	if err != nil {
		return err
	}
	result := tokensResult{Tokens: make([]tokenResult, len(tokens))}
	for i, t := range tokens {
		result.Tokens[i] = newTokenResult(t)
	}
	if i.format == formatJSON {
		return unsaid("", i.screen().json(result))
	}
	for _, t := range result.Tokens {
		if t.Problem != "" {
			i.notes().note("what the token %s shows is unknown: %s", t.URI, visible(t.Problem))
		}
	}
	return unsaid("", i.screen().tokens(result))
}

func newTokenResult(t pkcs11.TokenStatus) tokenResult {
	r := tokenResult{
		Label: t.Label, Model: t.Model, Manufacturer: t.Manufacturer, Serial: t.Serial,
		SlotID: t.SlotID, SlotDescription: t.SlotDescription,
		Initialized: t.Has(pkcs11.FlagInitialized), PINPad: t.Has(pkcs11.FlagPINPad),
		LoginRequired: t.Has(pkcs11.FlagLoginRequired), WriteProtected: t.Has(pkcs11.FlagWriteProtected),
	}
	if r.Initialized {
		r.URI = t.URI.String()
	}
	for _, state := range pinStates {
		if t.Has(state.flag) {
			r.PIN = state.name
			break
		}
	}
	if t.Objects != nil {
		r.Visible = &visibleResult{t.Objects.PrivateKeys, t.Objects.PublicKeys, t.Objects.Certificates}
	}
	if t.Problem != nil {
		r.Problem = t.Problem.Error()
	}
	return r
}

func (s screen) tokens(result tokensResult) error {
	if len(result.Tokens) == 0 {
		_, err := fmt.Fprintln(s, "The module shows no token. A remote token whose server is down looks like this, too.")
		return err
	}
	rows := [][]string{{"TOKEN", "MODEL", "SERIAL NUMBER", "LOGIN", "SHOWN WITHOUT LOGIN", "URI", "PIN"}}
	for _, t := range result.Tokens {
		if !t.Initialized {
			rows = append(rows, []string{visible(t.Label), visible(t.Model), visible(t.Serial), "-", "not initialized", "-", "-"})
			continue
		}
		login := map[bool]string{true: "required", false: "not required"}[t.LoginRequired]
		rows = append(rows, []string{visible(t.Label), visible(t.Model), visible(t.Serial), login, t.shows(), t.URI, s.pinState(t.PIN)})
	}
	return s.table(rows)
}

// shows says what can be seen without a login.
func (t tokenResult) shows() string {
	if t.Visible == nil {
		return "unknown"
	}
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{t.Visible.PrivateKeys, "private key", "private keys"},
		{t.Visible.PublicKeys, "public key", "public keys"},
		{t.Visible.Certificates, "certificate", "certificates"},
	} {
		if part.n > 0 {
			parts = append(parts, plural(part.n, part.one, part.many))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func (s screen) pinState(name string) string {
	for _, state := range pinStates {
		if state.name == name {
			return s.paint(state.look, strings.ReplaceAll(name, "-", " "))
		}
	}
	return name
}
