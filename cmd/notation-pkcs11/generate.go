// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

func generateKeyCommand() *cobra.Command {
	var keyType string
	cmd := tokenCommand(&cobra.Command{
		Use:   "generate-key URI --type TYPE",
		Short: "Generate a signing key on a token",
		Long: `Generate a key pair on the token, with the label in the URI's object. The private
key is private, sensitive, not extractable, and sign-only; if the token allows more,
a warning says so. A key that could leave the token is deleted again. The CKA_ID is
the URI's id, or random.

Nothing is overwritten: if a key with this label or CKA_ID exists, the command
fails and names it. Types are ` + strings.Join(pkcs11.GeneratedTypes(), ", ") + `.`,
		Example: `  notation-pkcs11 generate-key 'pkcs11:token=Release;object=signing' --type ec:p256 --module /usr/lib/softhsm/libsofthsm2.so
  notation-pkcs11 generate-key 'pkcs11:token=Release;object=signing;id=%01' --type rsa:3072`,
		Args: oneURI,
	}, func(i *invocation, ctx context.Context, args []string) error {
		if err := oneOf("type", keyType, pkcs11.GeneratedTypes()); err != nil {
			return err
		}
		return i.generateKey(ctx, args[0], keyType)
	})
	cmd.Flags().StringVar(&keyType, "type", "", "`TYPE` of the key: "+strings.Join(pkcs11.GeneratedTypes(), ", "))
	completeWith(cmd, "type", pkcs11.GeneratedTypes()...)
	if err := cmd.MarkFlagRequired("type"); err != nil {
		panic(err) // there is such a flag
	}
	return cmd
}

// generateKeyResult is the JSON of the command generate-key.
type generateKeyResult struct {
	URI       string `json:"uri"` // selects the new key
	Type      string `json:"type"`
	PublicKey string `json:"publicKey"` // PEM, SubjectPublicKeyInfo
	// Warnings are what the key may do beside signing, or what the token doesn't
	// say of it.
	Warnings []string `json:"warnings,omitempty"`
}

func (i *invocation) generateKey(ctx context.Context, uri, keyType string) error {
	s, err := i.settings(uri)
	if err != nil {
		return err
	}
	if label, _ := s.URI.Value(pkcs11.AttrObject); label == "" {
		return errors.New("the URI must name the new key; add object=LABEL")
	}
	var key pkcs11.Generated
	err = i.with(ctx, s, func(ctx context.Context, m *host.Module) error {
		if _, err := m.Token(ctx); err != nil {
			return err
		}
		if err := m.Login(ctx, true); err != nil {
			return err
		}
		key, err = m.Generate(ctx, keyType)
		return err
	})
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		return fail(err, s)
	}
	result := generateKeyResult{
		URI: key.URI.String(), Type: keyType, Warnings: key.Warnings,
		PublicKey: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}
	done := "the key " + result.URI + " was generated"
	if i.format == formatJSON {
		return unsaid(done, i.screen().json(result))
	}
	for _, warning := range key.Warnings {
		i.notes().note("the new key signs, but %s", warning)
	}
	_, err = fmt.Fprintf(i.screen(), "Generated the key (%s)\n\n  %s\n\nNext, create a certificate signing request (CSR) and send it to your CA:\n\n  %s\n",
		result.Type, result.URI, "notation-pkcs11 csr "+shellQuote(result.URI)+" --subject 'CN=Release signing,O=Example,ST=WA,C=US'")
	return unsaid(done, err)
}
