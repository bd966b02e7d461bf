// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509/pkix"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

func csrCommand() *cobra.Command {
	var subject, file string
	cmd := tokenCommand(&cobra.Command{
		Use:   "csr URI --subject DN",
		Short: "Create a certificate signing request (CSR) for a key",
		Long: `Create a certificate signing request (CSR; PKCS#10, PEM) for a key, signed by the
token. The CSR requests what notation needs: the key usage digitalSignature,
critical, and the extended key usage codeSigning. The certification authority (CA)
decides what the certificate contains.

RSA keys sign the CSR with RSASSA-PSS, never with PKCS#1 v1.5. If your CA refuses
that, use an EC key.

The subject is a distinguished name (DN), in any order. Include C, ST and O:
without them, a trust policy can't name the subject as a trusted identity.`,
		Example: `  notation-pkcs11 csr 'pkcs11:token=Release;object=signing' --subject 'CN=Release signing,O=Example,ST=WA,C=US' --output-file signing.csr
  notation-pkcs11 csr 'pkcs11:token=Release;object=signing' --subject 'CN=Release signing,O=Example\, Inc.,ST=WA,C=US'`,
		Args: oneURI,
	}, func(i *invocation, ctx context.Context, args []string) error {
		name, err := plugin.ParseSubject(subject)
		if err != nil {
			return err
		}
		return i.csr(ctx, args[0], name, file)
	})
	addSubjectFlags(cmd, &subject, &file)
	return cmd
}

// addSubjectFlags adds the flags of commands that name a subject and write PEM.
func addSubjectFlags(cmd *cobra.Command, subject, file *string) {
	cmd.Flags().StringVar(subject, "subject", "", "distinguished name `DN`, such as 'CN=Release signing,O=Example,ST=WA,C=US'")
	cmd.Flags().StringVar(file, "output-file", "", "write to this new `FILE` instead of standard output")
	if err := cmd.MarkFlagRequired("subject"); err != nil {
		panic(err) // there is such a flag
	}
}

func (i *invocation) csr(ctx context.Context, uri string, subject pkix.Name, file string) error {
	s, err := i.settings(uri)
	if err != nil {
		return err
	}
	if err := checkNew(file); err != nil {
		return err
	}
	var der []byte
	err = i.with(ctx, s, func(ctx context.Context, m *host.Module) error {
		key, err := openKeyToCertify(ctx, m, s, false)
		if err != nil {
			return err
		}
		der, err = plugin.NewCertificateRequest(ctx, key, subject)
		return err
	})
	if err != nil {
		return err
	}
	i.remarkIdentity(subject)
	if err := i.writePEM(pemResult{Type: "CERTIFICATE REQUEST", Subject: subject.String(), File: file}, der); err != nil {
		return fail(err, s)
	}
	i.next("when your CA has sent the chain, store it", "import-cert", s.URI.String(), "chain.pem")
	return nil
}

// openKey goes to the key that the settings select.
func openKey(ctx context.Context, m *host.Module, write bool) (*host.Key, error) {
	if _, err := m.Token(ctx); err != nil {
		return nil, err
	}
	if err := m.Login(ctx, write); err != nil {
		return nil, err
	}
	return m.Key(ctx)
}

// openKeyToCertify is openKey for a command that makes what certifies the key: where
// its public half isn't known a certificate can't be what is missing.
func openKeyToCertify(ctx context.Context, m *host.Module, s plugin.Settings, write bool) (*host.Key, error) {
	key, err := openKey(ctx, m, write)
	if pkcs11.IsKind(err, pkcs11.KindPublicKey) {
		err = &failure{error: err, settings: s,
			hint: "Store the public key with pkcs11-tool --write-object FILE --type pubkey, or generate another key"}
	}
	return key, err
}

func (i *invocation) remarkIdentity(subject pkix.Name) {
	if lacks := plugin.CheckIdentity(subject); lacks != "" {
		i.notes().note("%s", lacks)
	}
}
