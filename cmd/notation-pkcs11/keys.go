// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

func keysCommand() *cobra.Command {
	return tokenCommand(&cobra.Command{
		Use:   "keys [URI]",
		Short: "List the private keys on a token, and whether notation can sign with them",
		Long: `List every private key on a token: the URI that selects exactly this key, its type
and size, its certificate, and whether notation can sign with it, or why not. If a
key has several certificates, the one that signatures carry is in the key's line,
and the others are below it. If the public key isn't visible, as for EC keys on
many tokens, the key makes one signature over meaningless data to find it.

The login uses the configured PIN, or prompts for one. Without a PIN, or if the URI
selects several tokens, the command lists what is visible without a login: a PIN
belongs to one token, and would cost the others an attempt.`,
		Example: `  notation-pkcs11 keys --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 keys 'pkcs11:token=Release' --pin-source file:/run/secrets/pin --output json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneURI(cmd, args)
		},
	}, (*invocation).keys)
}

// keysResult is the JSON of the command keys.
type keysResult struct {
	Tokens []tokenKeysResult `json:"tokens"`
}

type tokenKeysResult struct {
	Label  string `json:"label"`
	Serial string `json:"serial"`
	URI    string `json:"uri"`
	// LoggedIn is true if a login was made. Complete is false if one would have
	// been needed to see all keys.
	LoggedIn bool        `json:"loggedIn"`
	Complete bool        `json:"complete"`
	Keys     []keyResult `json:"keys"`
}

type keyResult struct {
	URI  string `json:"uri"`  // selects exactly this key
	Type string `json:"type"` // such as RSA-3072 or EC-256
	// Certificate is the one that signatures carry, or the one that comes closest;
	// OtherCertificates are the key's others, with the reason.
	Certificate       *plugin.CertificateUse  `json:"certificate,omitempty"`
	OtherCertificates []plugin.CertificateUse `json:"otherCertificates,omitempty"`
	CanSign           bool                    `json:"canSign"`           // notation can sign with it
	Problem           string                  `json:"problem,omitempty"` // why not
	Warning           string                  `json:"warning,omitempty"` // a certificate of the chain that ends within 30 days
}

func (i *invocation) keys(ctx context.Context, args []string) error {
	uri := "pkcs11:"
	if len(args) > 0 {
		uri = args[0]
	}
	s, err := i.settings(uri)
	if err != nil {
		return err
	}
	var listings []host.Listing
	reason := ""
	err = i.with(ctx, s, func(ctx context.Context, m *host.Module) error {
		var err error
		if reason, err = loginToList(ctx, m); err != nil {
			return err
		}
		listings, err = m.Keys(ctx)
		return err
	})
	if err != nil {
		return err
	}
	result := keysResult{Tokens: []tokenKeysResult{}}
	for _, l := range listings {
		result.Tokens = append(result.Tokens, newTokenKeysResult(l, s, time.Now()))
	}
	if reason != "" {
		i.notes().note("%s, so only what can be seen without a login is listed", asFlags(reason))
	}
	if i.format == formatJSON {
		return unsaid("", i.screen().json(result))
	}
	return unsaid("", i.screen().keys(result))
}

// loginToList logs in to the one token that is selected, if it can. The reason
// is why it did not.
func loginToList(ctx context.Context, m *host.Module) (reason string, err error) {
	token, err := m.Token(ctx)
	if pkcs11.IsKind(err, pkcs11.KindTokens) {
		return "several tokens are selected and a PIN belongs to one", nil
	}
	if err != nil {
		return "", err
	}
	err = m.Login(ctx, false)
	if pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		return fmt.Sprintf("the token %s requires a PIN, and none is configured", token.URI), nil
	}
	return "", err
}

func newTokenKeysResult(l host.Listing, s plugin.Settings, now time.Time) tokenKeysResult {
	r := tokenKeysResult{
		Label: l.Token.Label, Serial: l.Token.Serial, URI: l.Token.URI.String(),
		LoggedIn: l.LoggedIn, Complete: l.LoggedIn || !l.Token.Has(pkcs11.FlagLoginRequired),
		Keys: []keyResult{},
	}
	for _, key := range l.Keys {
		a := plugin.Assess(key, l.Certificates, s.Certificates, now)
		k := keyResult{
			URI: key.URI.String(), Type: key.Type, CanSign: a.Problem == "", Problem: asFlags(a.Problem), Warning: a.Warning,
			Certificate: a.InUse, OtherCertificates: a.Others,
		}
		for n, other := range k.OtherCertificates {
			k.OtherCertificates[n].Why = asFlags(other.Why)
		}
		r.Keys = append(r.Keys, k)
	}
	// Tokens list objects in any order, and SoftHSM in another one each time.
	slices.SortFunc(r.Keys, func(a, b keyResult) int { return strings.Compare(a.URI, b.URI) })
	return r
}

func (s screen) keys(result keysResult) error {
	rows := [][]string{{"KEY", "TYPE", "CERTIFICATE", "EXPIRES", "NOTATION CAN SIGN"}}
	for _, token := range result.Tokens {
		for _, k := range token.Keys {
			name, expires := "-", "-"
			if k.Certificate != nil {
				name, expires = visible(k.Certificate.Name), k.Certificate.NotAfter.Format(time.DateOnly)
			}
			verdict := s.paint(green, "yes")
			switch {
			case !k.CanSign:
				verdict = s.paint(red, "no") + ": " + k.Problem
			case k.Warning != "":
				verdict = s.paint(yellow, "yes") + ", but " + k.Warning
			}
			rows = append(rows, []string{k.URI, visible(k.Type), name, expires, verdict})
			for _, other := range k.OtherCertificates {
				rows = append(rows, []string{"", "", visible(other.Name), other.NotAfter.Format(time.DateOnly), "this one is not used: " + other.Why})
			}
		}
	}
	if len(rows) == 1 {
		_, err := fmt.Fprintln(s, "No private key is shown.")
		return err
	}
	return s.table(rows)
}
