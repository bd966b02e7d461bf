// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Name is the plugin's name in notation: its executable is notation-pkcs11.
const Name = "pkcs11"

const homepage = "https://github.com/notation-pkcs11/notation-pkcs11"

// Opener opens keys.
type Opener interface {
	// Open opens the one private key that the settings select. Errors are
	// *pkcs11.Error, or wrap those of ctx once that has ended, when Open must
	// return soon. The key is good until ctx ends or it is closed.
	Open(ctx context.Context, s Settings) (Key, error)
}

// Key is a private key on a token. Its methods return soon after their context
// has ended, with an error that wraps the context's or is of pkcs11.KindTimeout.
type Key interface {
	// Public returns the key's public half.
	Public() crypto.PublicKey
	// SignMessage signs the message as crypto.MessageSigner does, so hashing it
	// is the token's business or the implementation's: PSS if opts is an
	// *rsa.PSSOptions, and DER for ECDSA.
	SignMessage(ctx context.Context, message []byte, opts crypto.SignerOpts) ([]byte, error)
	// OwnCertificates returns the certificates on the token that a chain of the key is
	// looked for in first, in any order: those with the key's CKA_ID or label, and the
	// issuers of these and of Settings.Certificates. More do no harm, so an
	// implementation may return what Certificates does.
	OwnCertificates(ctx context.Context) ([]*x509.Certificate, error)
	// Certificates returns all certificates on the token, in any order.
	Certificates(ctx context.Context) ([]*x509.Certificate, error)
	// Close logs out and lets go of the token, in bounded time.
	Close() error
}

// Plugin answers the contract's requests for keys in PKCS#11 tokens. It is a
// SignPlugin of the framework, with the capability SIGNATURE_GENERATOR.RAW.
// Every error is a *plugin.Error of the framework, with the contract's code.
// The methods can be called from several goroutines if the Opener can.
type Plugin struct {
	// Version is a semantic version without a leading v, such as 1.2.3: notation
	// compares it with that of an installed plugin.
	Version string
	// Opener opens the keys.
	Opener Opener
	// Agent opens them where Settings.Agent is set. It counts the time itself: its
	// context has no deadline, since a signature may wait for others. Nil: an agent
	// that is set is an error, for there is no login besides it.
	Agent Opener
	// Prompt asks a person for a PIN. Nil, or an error of pkcs11.KindNoPIN,
	// means that there is nobody to ask.
	Prompt pkcs11.PINFunc
	// PIN gives a PIN that the program was given itself, and GivenBy names in errors
	// by what, such as "the input pin". It wins over the environment; a source in the
	// key URI or the plugin config beside it is an error. Nil: there is none.
	PIN     pkcs11.PINFunc
	GivenBy string
	// Getenv reads the environment. Nil means os.Getenv.
	Getenv func(string) string
	// Now is the clock that certificates are checked by. Nil means time.Now.
	Now func() time.Time

	chains chainMemory
	logs   auditLogs
}

var _ contract.SignPlugin = (*Plugin)(nil)

// GetMetadata says what the plugin is. It looks at nothing else.
func (p *Plugin) GetMetadata(context.Context, *contract.GetMetadataRequest) (*contract.GetMetadataResponse, error) {
	return &contract.GetMetadataResponse{
		Name:                      Name,
		Description:               "Signs with keys in PKCS#11 tokens and HSMs",
		Version:                   p.Version,
		URL:                       homepage,
		SupportedContractVersions: []string{contract.ContractVersion},
		Capabilities:              []contract.Capability{contract.CapabilitySignatureGenerator},
	}, nil
}

// DescribeKey returns the type and size of the key that the request's key id
// selects, such as RSA-3072. It has the key opened with Settings.PublicOnly.
func (p *Plugin) DescribeKey(ctx context.Context, req *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	if err := accept(req.ContractVersion, req); err != nil {
		return nil, err
	}
	s, err := p.Settings(req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, err
	}
	s.PublicOnly = true
	record, err := p.newRecord(s)
	if err != nil {
		return nil, err
	}
	var spec keySpec
	err = p.withKey(ctx, s, record, func(_ context.Context, key Key) (err error) {
		spec, err = specOf(key.Public())
		return err
	})
	if err != nil {
		return nil, err
	}
	return &contract.DescribeKeyResponse{KeyID: req.KeyID, KeySpec: spec.name}, nil
}

// GenerateSignature signs the request's payload. The answer has the raw
// signature (RSASSA-PSS, or r||s), verified, and the certificate chain in DER
// from the key's certificate to the root, checked. With Settings.AuditLog it signs
// Notary payloads alone, and the signature's line is on disk before it returns.
func (p *Plugin) GenerateSignature(ctx context.Context, req *contract.GenerateSignatureRequest) (*contract.GenerateSignatureResponse, error) {
	if err := accept(req.ContractVersion, req); err != nil {
		return nil, err
	}
	spec, err := specNamed(req.KeySpec)
	if err != nil {
		return nil, err
	}
	if err := spec.checkHash(req.Hash); err != nil {
		return nil, err
	}
	s, err := p.Settings(req.KeyID, req.PluginConfig)
	if err != nil {
		return nil, err
	}
	record, err := p.newRecord(s)
	if err != nil {
		return nil, err
	}
	if err := record.read(req.Payload); err != nil {
		return nil, record.refused(err)
	}
	response := &contract.GenerateSignatureResponse{KeyID: req.KeyID, SigningAlgorithm: spec.algorithm}
	err = p.withKey(ctx, s, record, func(ctx context.Context, key Key) error {
		actual, err := specOf(key.Public())
		if err != nil {
			return err
		}
		if actual.name != spec.name {
			return contract.NewValidationErrorf("keySpec %s is not that of the key, which is %s", spec.name, actual.name)
		}
		if err := record.fits(key); err != nil {
			return err
		}
		// Before the signature: a chain that notation refuses costs no use of the key.
		chain, err := p.chain(ctx, key, s.Certificates)
		if err != nil {
			return err
		}
		for _, cert := range chain {
			response.CertificateChain = append(response.CertificateChain, cert.Raw)
		}
		if response.Signature, err = sign(ctx, key, spec, chain[0].PublicKey, req.Payload); err != nil {
			return err
		}
		return record.signed(ctx, key, spec, chain[0])
	})
	if err != nil {
		return nil, record.refused(err)
	}
	return response, nil
}

// chain finds the key's certificate chain. A token can hold many people's certificates,
// and be far away: it is asked only where those of cert_chain don't make a chain, then for
// those that go with the key, and for all only where these don't, either.
func (p *Plugin) chain(ctx context.Context, key Key, configured []*x509.Certificate) ([]*x509.Certificate, error) {
	if len(configured) > 0 {
		if chain, err := p.chains.find(key.Public(), nil, configured, p.now()); err == nil {
			return chain, nil
		}
	}
	onToken, err := key.OwnCertificates(ctx)
	if err != nil {
		return nil, err
	}
	if chain, err := p.chains.find(key.Public(), onToken, configured, p.now()); err == nil {
		return chain, nil
	}
	if onToken, err = key.Certificates(ctx); err != nil {
		return nil, err
	}
	return p.chains.find(key.Public(), onToken, configured, p.now())
}

// GenerateEnvelope is the way of plugins that write whole envelopes. This one
// doesn't, and says so: notation makes the envelope.
func (p *Plugin) GenerateEnvelope(context.Context, *contract.GenerateEnvelopeRequest) (*contract.GenerateEnvelopeResponse, error) {
	return nil, unsupported(contract.CommandGenerateEnvelope)
}

// unsupported refuses a command of the contract that belongs to another
// capability.
func unsupported(command contract.Command) error {
	return contract.NewValidationErrorf("the command %s is not supported; this plugin has the capability %s alone", command, contract.CapabilitySignatureGenerator)
}

// accept checks a request by itself.
func accept(version string, req contract.Request) error {
	if version != "" && version != contract.ContractVersion {
		return Refuse(contract.ErrorCodeUnsupportedContractVersion, "Use a release of the plugin that fits your notation",
			"version %s of the plugin contract is not supported; this plugin supports %s", quote(version), contract.ContractVersion)
	}
	return req.Validate()
}

// Settings returns the settings for a key, as [ParseSettings] does.
func (p *Plugin) Settings(keyID string, config map[string]string) (Settings, error) {
	getenv := p.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	s, err := ParseSettings(keyID, config, getenv, p.Prompt)
	if err != nil || p.PIN == nil {
		return s, err
	}
	if _, inURI := s.URI.Value(pkcs11.AttrPINSource); inURI {
		return Settings{}, contract.NewValidationErrorf("%s is set, and %s in the key URI too; set only one", p.GivenBy, pkcs11.AttrPINSource)
	}
	if _, inConfig := config["pin_source"]; inConfig {
		return Settings{}, contract.NewValidationErrorf("%s is set, and pin_source in the plugin config too; set only one", p.GivenBy)
	}
	return s.WithPIN(p.PIN, p.GivenBy), nil
}

func (p *Plugin) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// withKey opens the key and lends it to use, within the timeout. Its errors are
// the contract's. Those of a login are recorded, whatever it was for.
func (p *Plugin) withKey(ctx context.Context, s Settings, r *record, use func(context.Context, Key) error) error {
	opener := p.Opener
	if s.Agent == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.Timeout)
		defer cancel()
	} else if opener = p.Agent; opener == nil {
		return contract.NewValidationError("NOTATION_PKCS11_AGENT is set, and this program doesn't use the agent; unset it to log in without the agent")
	}
	err := lend(ctx, opener, s, use)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", context.Cause(ctx)) // which names the signal
	}
	told := Translate(err, s)
	if IsLoginFailure(err) {
		told = r.failed(auditlog.LoginFailure, told)
	}
	return told
}

func lend(ctx context.Context, opener Opener, s Settings, use func(context.Context, Key) error) error {
	key, err := opener.Open(ctx, s)
	if err != nil {
		return err
	}
	// What Close says comes too late: the signature is made and verified, or
	// there is a better error.
	defer key.Close()
	return use(ctx, key)
}
