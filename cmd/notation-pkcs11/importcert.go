// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

func importCertCommand() *cobra.Command {
	return tokenCommand(&cobra.Command{
		Use:   "import-cert URI FILE",
		Short: "Store a key's certificate and its chain on the token",
		Long: `Store the certificates in a file (PEM, PKCS#7 or DER) on the token: the signing
certificate with the label and CKA_ID of the key, the intermediates and the root with
the common name of their subject. The order in the file doesn't matter. Certificates
of other chains are omitted, and those already on the token stay as they are. The
file is refused if no certificate in it has the key's public key, or if notation
can't use the signing certificate, for example because it has expired.

The last line of the output names the certificate that signatures with the key carry
from now on. After a renewal this may be the old one: of several certificates on the
token, the one that expires last is used.`,
		Example: `  notation-pkcs11 import-cert 'pkcs11:token=Release;object=signing' chain.pem --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 import-cert 'pkcs11:token=Release;object=signing' chain.pem --pin-source env:PIN --output json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("%s takes a PKCS#11 URI and a file; it got %s", cmd.CommandPath(), plural(len(args), "argument", "arguments"))
			}
			return nil
		},
	}, (*invocation).importCert)
}

// importCertResult is the JSON of the command import-cert.
type importCertResult struct {
	Certificates []importedResult `json:"certificates"`
	// InUse is the certificate that signatures carry from now on, or the one that
	// comes closest; Note says so where it isn't the file's, and what to do.
	InUse *plugin.CertificateUse `json:"inUse,omitempty"`
	Note  string                 `json:"note,omitempty"`
	// Problem is why notation can't sign with the key all the same.
	Problem string `json:"problem,omitempty"`
}

type importedResult struct {
	Subject string `json:"subject"`
	// Outcome is "stored", "present" (it was there before) or "left-out" (it is
	// not of the key's chain).
	Outcome string `json:"outcome"`
}

// The outcomes.
const (
	importStored  = "stored"
	importPresent = "present"
	importLeftOut = "left-out"
)

func (i *invocation) importCert(ctx context.Context, args []string) error {
	s, err := i.settings(args[0])
	if err != nil {
		return err
	}
	certificates, err := plugin.ReadBundle(args[1])
	if err != nil {
		return err
	}
	// The file may be all that shows the key's public half.
	opened := s
	opened.Certificates = slices.Concat(s.Certificates, certificates)
	var result importCertResult
	err = i.with(ctx, opened, func(ctx context.Context, m *host.Module) error {
		result, err = importInto(ctx, m, s, args[1], certificates)
		if pkcs11.IsKind(err, pkcs11.KindPublicKey) { // though the file's were among the candidates
			err = notOfThisKey(s, "%s holds no certificate of this key; nothing was stored: %w", shellQuote(args[1]), err)
		}
		return err
	})
	if err != nil {
		return err
	}
	if i.format == formatJSON {
		return unsaid(result.done(), i.screen().json(result))
	}
	if result.Note != "" {
		defer i.notes().note("%s", result.Note)
	}
	if result.Problem != "" {
		defer i.notes().note("notation can't sign with this key yet: %s", result.Problem)
	}
	if err := i.screen().imported(result); err != nil {
		return unsaid(result.done(), err)
	}
	if result.Problem == "" {
		i.next("see whether notation can sign", "check", s.URI.String())
	}
	return nil
}

// done says, in a clause, what was changed.
func (r importCertResult) done() string {
	stored := 0
	for _, c := range r.Certificates {
		if c.Outcome == importStored {
			stored++
		}
	}
	if stored == 0 {
		return ""
	}
	return plural(stored, "certificate was", "certificates were") + " stored on the token"
}

func importInto(ctx context.Context, m *host.Module, s plugin.Settings, file string, certificates []*x509.Certificate) (importCertResult, error) {
	key, err := openKey(ctx, m, true)
	if err != nil {
		return importCertResult{}, err
	}
	related := plugin.Related(key.Public(), certificates)
	if len(related) == 0 {
		return importCertResult{}, notOfThisKey(s, "the file has no certificate with the key's public key (it has %s), so nothing was stored", plural(len(certificates), "certificate", "certificates"))
	}
	before, err := key.Certificates(ctx)
	if err != nil {
		return importCertResult{}, err
	}
	if err := plugin.CheckAcceptable(key.Public(), related, slices.Concat(before, s.Certificates), time.Now()); err != nil {
		return importCertResult{}, &failure{error: fmt.Errorf("notation can't sign with the certificate of the file, so nothing was stored: %w", err), settings: s}
	}
	stored, err := m.Import(ctx, related)
	if err != nil {
		return importCertResult{}, err
	}
	var result importCertResult
	for _, c := range certificates {
		outcome := importLeftOut
		if n := slices.Index(related, c); n >= 0 {
			outcome = map[bool]string{true: importStored, false: importPresent}[stored[n]]
		}
		result.Certificates = append(result.Certificates, importedResult{c.Subject.String(), outcome})
	}
	a := plugin.Assess(pkcs11.KeyInfo{Public: key.Public()}, slices.Concat(before, related), s.Certificates, time.Now())
	result.Problem, result.InUse = asFlags(a.Problem), a.InUse
	for _, other := range a.Others { // related[0] is the file's one of the key
		if other.SerialNumber == related[0].SerialNumber.Text(16) && other.Subject == related[0].Subject.String() {
			result.Note = noteInUse(*a.InUse, other, file)
		}
	}
	return result, nil
}

// notOfThisKey is the failure of a file with other keys' certificates.
func notOfThisKey(s plugin.Settings, format string, args ...any) error {
	return &failure{error: fmt.Errorf(format, args...), settings: s, hint: "Check that the URI selects the key for which the certificate was issued"}
}

// noteInUse says that another certificate than the file's is in use, why, and how
// to change that where the file's could be.
func noteInUse(used, imported plugin.CertificateUse, file string) string {
	note := fmt.Sprintf("signatures carry another certificate of this key, %s (serial number %s, until %s); the file's is not used: %s",
		visible(used.Subject), used.SerialNumber, used.NotAfter.Format(time.DateOnly), asFlags(imported.Why))
	if imported.Unusable {
		return note
	}
	note += "; to use it, set --cert-chain to " + shellQuote(file)
	if used.Source == plugin.SourceToken {
		note += ", or delete the one in use from the token with the vendor's tool"
	}
	return note
}

func (s screen) imported(result importCertResult) error {
	texts := map[string]string{
		importStored:  s.paint(green, "stored"),
		importPresent: "already on the token",
		importLeftOut: s.paint(yellow, "left out: not of the key's chain"),
	}
	rows := [][]string{{"CERTIFICATE", "RESULT"}}
	for _, c := range result.Certificates {
		rows = append(rows, []string{visible(c.Subject), texts[c.Outcome]})
	}
	if err := s.table(rows); err != nil || result.InUse == nil || result.Note != "" || result.Problem != "" {
		return err
	}
	since := "from now on"
	if result.done() == "" {
		since = "still"
	}
	_, err := fmt.Fprintf(s, "\nSignatures with this key carry %s %s (serial number %s, until %s).\n",
		visible(result.InUse.Subject), since, result.InUse.SerialNumber, result.InUse.NotAfter.Format(time.DateOnly))
	return err
}
