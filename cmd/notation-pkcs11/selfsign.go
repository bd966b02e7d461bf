// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// selfSigned is what the command self-sign is to make.
type selfSigned struct {
	subject pkix.Name
	days    int
	file    string
	store   bool // on the token, too
}

func selfSignCommand() *cobra.Command {
	var order selfSigned
	var subject string
	cmd := tokenCommand(&cobra.Command{
		Use:   "self-sign URI --subject DN --days N",
		Short: "Create a self-signed certificate for a key, for labs",
		Long: `Create a certificate (PEM) that the key signs itself. The certificate meets the
Notary Project's requirements, so notation signs and verifies with it, but no CA
issued it: use it for tests and labs only.

RSA keys sign the certificate with RSASSA-PSS.`,
		Example: `  notation-pkcs11 self-sign 'pkcs11:token=Lab;object=signing' --subject 'CN=Lab,O=Example,ST=WA,C=US' --days 90 --import
  notation-pkcs11 self-sign 'pkcs11:token=Lab;object=signing' --subject 'CN=Lab,O=Example,ST=WA,C=US' --days 90 --output-file lab.pem`,
		Args: oneURI,
	}, func(i *invocation, ctx context.Context, args []string) (err error) {
		if order.subject, err = plugin.ParseSubject(subject); err != nil {
			return err
		}
		if order.days < 1 || order.days > plugin.MaxSelfSignedDays {
			return fmt.Errorf("--days %d is out of range; use 1 to %d", order.days, plugin.MaxSelfSignedDays)
		}
		return i.selfSign(ctx, args[0], order)
	})
	addSubjectFlags(cmd, &subject, &order.file)
	cmd.Flags().IntVar(&order.days, "days", 0, "number of days `N` for which the certificate is valid from now on")
	cmd.Flags().BoolVar(&order.store, "import", false, "store the certificate on the token, too")
	if err := cmd.MarkFlagRequired("days"); err != nil {
		panic(err) // there is such a flag
	}
	return cmd
}

func (i *invocation) selfSign(ctx context.Context, uri string, order selfSigned) error {
	s, err := i.settings(uri)
	if err != nil {
		return err
	}
	if err := checkNew(order.file); err != nil {
		return err
	}
	var der []byte
	err = i.with(ctx, s, func(ctx context.Context, m *host.Module) error {
		key, err := openKeyToCertify(ctx, m, s, order.store)
		if err != nil {
			return err
		}
		if der, err = plugin.NewSelfSigned(ctx, key, order.subject, order.days, time.Now()); err != nil || !order.store {
			return err
		}
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		_, err = m.Import(ctx, []*x509.Certificate{certificate})
		return err
	})
	if err != nil {
		return err
	}
	i.remarkIdentity(order.subject)
	result := pemResult{Type: "CERTIFICATE", Subject: order.subject.String(), File: order.file, Imported: order.store}
	return fail(i.writePEM(result, der), s)
}
