// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// TrustOptions are the inputs that say whom to trust. There are two ways: a
// trust policy with a trust store, each from its input or else from notation's
// own directory; or certificates, which need no file at all.
type TrustOptions struct {
	Policy string // trust_policy: a path, or the JSON itself
	Store  string // trust_store: the directory that has x509 in it

	Certificates  string   // trusted_certificates: PEM, or paths one a line
	Identities    []string // trusted_identities: as in a policy; none means *
	Level         string   // verification_level; empty means strict
	TimestampRoot string   // timestamp_root_cert: PEM, or paths one a line; of the second way alone

	// NotationDir is notation's own configuration directory, which is only read.
	// Empty: there is none.
	NotationDir string
}

// ErrNoNotationDir says that notation's configuration directory is not known. The
// current directory is no stand-in for it.
var ErrNoNotationDir = errors.New("notation's configuration directory is not known, for HOME is not set " +
	"(or XDG_CONFIG_HOME is relative); set it, or NOTATION_CONFIG")

// Trust is whom to trust: a valid trust policy, with the certificates of all
// trust stores that it names. It is complete before the first request and never
// changes, so nothing that a registry says can widen it.
type Trust struct {
	policy *trustpolicy.Document
	stores certificateStores
	// fromInputs says that the policy was made of inputs, so its statement has a name
	// that the user never saw.
	fromInputs bool
	// Warnings are what a user should know although the policy is valid.
	Warnings []string
	// applicable remembers what statementFor found: repository to *statement.
	applicable sync.Map
}

// LoadTrust reads and checks the policy and the stores. It makes no request.
func LoadTrust(o TrustOptions) (*Trust, error) {
	if o.Certificates != "" {
		return trustCertificates(o)
	}
	if len(o.Identities) > 0 || o.Level != "" {
		return nil, errors.New("trusted_identities and verification_level need trusted_certificates, which is not set; " +
			"set it, or remove them, since a trust policy contains both")
	}
	return trustPolicy(o)
}

// Names in the policy that [trustCertificates] writes.
const (
	inputStatement      = "inputs"
	inputStore          = "trusted_certificates"
	inputTimestampStore = "timestamp_root_cert"
)

// trustCertificates makes a policy of one statement for all repositories.
func trustCertificates(o TrustOptions) (*Trust, error) {
	if o.Policy != "" || o.Store != "" {
		return nil, errors.New("trusted_certificates and trust_policy or trust_store are both set; " +
			"set only the certificates, or only a policy with its store")
	}
	if err := checkIdentities("trusted_identities", o.Identities); err != nil {
		return nil, err
	}
	certs, err := ReadCertificates(inputStore, o.Certificates, truststore.TypeCA)
	if err != nil {
		return nil, err
	}
	t := &Trust{stores: certificateStores{}, fromInputs: true}
	ca := t.stores.add(truststore.TypeCA, inputStore, certs)
	statement := trustpolicy.TrustPolicy{
		Name:                  inputStatement,
		RegistryScopes:        []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: o.Level},
		TrustStores:           []string{ca},
		TrustedIdentities:     o.Identities,
	}
	if o.Level == "" {
		statement.SignatureVerification.VerificationLevel = trustpolicy.LevelStrict.Name
	}
	if len(o.Identities) == 0 {
		statement.TrustedIdentities = []string{"*"}
		if slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return c.IsCA }) {
			t.Warnings = append(t.Warnings, "trusted_identities is not set: any signer is accepted "+
				"whose certificate chains to one of the trusted_certificates")
		}
	}
	if o.TimestampRoot != "" {
		roots, err := ReadCertificates(inputTimestampStore, o.TimestampRoot, truststore.TypeTSA)
		if err != nil {
			return nil, err
		}
		statement.TrustStores = append(statement.TrustStores, t.stores.add(truststore.TypeTSA, inputTimestampStore, roots))
		// Not always: signatures from before timestamp_url was set would fail.
		statement.SignatureVerification.VerifyTimestamp = trustpolicy.OptionAfterCertExpiry
	}
	t.policy = &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{statement}}
	if err := t.policy.Validate(); err != nil {
		return nil, fmt.Errorf("trusted_identities and verification_level: %w", t.inOwnWords(&statement, err))
	}
	return t, nil
}

// trustPolicy reads a policy and the stores that it names.
func trustPolicy(o TrustOptions) (*Trust, error) {
	source, content, err := readPolicy(o)
	if err != nil {
		return nil, err
	}
	t := &Trust{}
	if t.policy, t.Warnings, err = parsePolicy(content); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	folder, err := storeFolder(o, t.policy)
	if err != nil {
		return nil, err
	}
	t.stores = loadStores(folder, t.policy)
	for _, statement := range t.policy.TrustPolicies {
		if err := checkIdentities(fmt.Sprintf("trust policy statement %q", statement.Name), statement.TrustedIdentities); err != nil {
			t.Warnings = append(t.Warnings, err.Error())
		}
	}
	for _, name := range t.stores.names() {
		if err := t.stores[name].err; err != nil {
			t.Warnings = append(t.Warnings, fmt.Sprintf("trust store %s: %v", name, err))
		}
	}
	return t, nil
}

// maxPolicySize is far more than a policy with a statement for each repository
// of a large registry has.
const maxPolicySize = 4 << 20

// readPolicy returns the text of the policy, and what to call it in errors.
func readPolicy(o TrustOptions) (source string, content []byte, err error) {
	switch {
	case strings.HasPrefix(strings.TrimSpace(o.Policy), "{"):
		return "trust_policy", []byte(o.Policy), nil
	case o.Policy == "" && o.NotationDir == "":
		return "", nil, fmt.Errorf("trust_policy is not set: %w", ErrNoNotationDir)
	case o.Policy == "":
		return readNotationPolicy(o.NotationDir)
	}
	info, err := os.Stat(o.Policy)
	if err != nil {
		return "", nil, fmt.Errorf("trust_policy is neither JSON nor a file that can be read: %w", err)
	}
	content, err = readPolicyFile(o.Policy, info)
	return "trust policy " + o.Policy, content, err
}

// readPolicyFile reads a policy, of which info is that of the file.
func readPolicyFile(path string, info fs.FileInfo) ([]byte, error) {
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("trust policy %s is not a regular file", path)
	}
	content, err := trustedfile.ReadNamed(path, trustedfile.Public, maxPolicySize)
	if err != nil {
		return nil, fmt.Errorf("trust policy: %w", err)
	}
	return content, nil
}

// parsePolicy parses and validates a policy. Unlike notation it does not ignore
// what follows the JSON, and warns of keys that mean nothing.
func parsePolicy(content []byte) (*trustpolicy.Document, []string, error) {
	var policy trustpolicy.Document
	if err := json.Unmarshal(content, &policy); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line := 1 + strings.Count(string(content[:syntax.Offset]), "\n")
			return nil, nil, fmt.Errorf("line %d: %w", line, err)
		}
		return nil, nil, err
	}
	if err := policy.Validate(); err != nil {
		return nil, nil, err
	}
	var warnings []string
	strict := json.NewDecoder(strings.NewReader(string(content)))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(trustpolicy.Document)); err != nil {
		warnings = append(warnings, fmt.Sprintf("trust policy: %v, which is ignored", strings.TrimPrefix(err.Error(), "json: ")))
	}
	return &policy, warnings, nil
}
