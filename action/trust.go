// SPDX-License-Identifier: Apache-2.0

package action

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
)

// trustOptions are the inputs that say whom to trust. There are two ways: a
// trust policy with a trust store, each from its input or else from notation's
// own directory; or certificates, which need no file at all.
type trustOptions struct {
	policy string // trust_policy: a path, or the JSON itself
	store  string // trust_store: the directory that has x509 in it

	certificates  string   // trusted_certificates: PEM, or paths one a line
	identities    []string // trusted_identities: as in a policy; none means *
	level         string   // verification_level; empty means strict
	timestampRoot string   // timestamp_root_cert: PEM, or paths one a line; of the second way alone

	notationDir string // notation's own configuration directory; it is only read
}

// trust is whom to trust: a valid trust policy, with the certificates of all
// trust stores that it names. It is complete before the first request and never
// changes, so nothing that a registry says can widen it.
type trust struct {
	policy *trustpolicy.Document
	stores certificateStores
	// warnings are what a user should know although the policy is valid.
	warnings []string
	// applicable remembers what statementFor found: repository to *statement.
	applicable sync.Map
}

// loadTrust reads and checks the policy and the stores. It makes no request.
func loadTrust(o trustOptions) (*trust, error) {
	if o.certificates != "" {
		return trustCertificates(o)
	}
	if len(o.identities) > 0 || o.level != "" {
		return nil, errors.New("trusted_identities and verification_level go with trusted_certificates, which is not set; " +
			"a trust policy says both for itself")
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
func trustCertificates(o trustOptions) (*trust, error) {
	if o.policy != "" || o.store != "" {
		return nil, errors.New("trusted_certificates is set, and trust_policy or trust_store too; set what is meant: " +
			"the certificates, or a policy with its store")
	}
	certs, err := readCertificates(inputStore, o.certificates, truststore.TypeCA)
	if err != nil {
		return nil, err
	}
	t := &trust{stores: certificateStores{}}
	ca := t.stores.add(truststore.TypeCA, inputStore, certs)
	statement := trustpolicy.TrustPolicy{
		Name:                  inputStatement,
		RegistryScopes:        []string{"*"},
		SignatureVerification: trustpolicy.SignatureVerification{VerificationLevel: o.level},
		TrustStores:           []string{ca},
		TrustedIdentities:     o.identities,
	}
	if o.level == "" {
		statement.SignatureVerification.VerificationLevel = trustpolicy.LevelStrict.Name
	}
	if len(o.identities) == 0 {
		statement.TrustedIdentities = []string{"*"}
		if slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return c.IsCA }) {
			t.warnings = append(t.warnings, "trusted_identities is not set: a signature counts whoever it is by, "+
				"as long as one of the trusted_certificates vouches for the signer")
		}
	}
	if o.timestampRoot != "" {
		roots, err := readCertificates(inputTimestampStore, o.timestampRoot, truststore.TypeTSA)
		if err != nil {
			return nil, err
		}
		statement.TrustStores = append(statement.TrustStores, t.stores.add(truststore.TypeTSA, inputTimestampStore, roots))
		// Not always: signatures from before timestamp_url was set would fail.
		statement.SignatureVerification.VerifyTimestamp = trustpolicy.OptionAfterCertExpiry
	}
	t.policy = &trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{statement}}
	if err := t.policy.Validate(); err != nil {
		return nil, fmt.Errorf("trusted_identities and verification_level: %w", err)
	}
	return t, nil
}

// trustPolicy reads a policy and the stores that it names.
func trustPolicy(o trustOptions) (*trust, error) {
	source, content, err := readPolicy(o)
	if err != nil {
		return nil, err
	}
	t := &trust{}
	if t.policy, t.warnings, err = parsePolicy(content); err != nil {
		return nil, fmt.Errorf("%s: %w", source, err)
	}
	folder, err := storeFolder(o, t.policy)
	if err != nil {
		return nil, err
	}
	t.stores = loadStores(folder, t.policy)
	for _, name := range t.stores.names() {
		if err := t.stores[name].err; err != nil {
			t.warnings = append(t.warnings, fmt.Sprintf("trust store %s: %v", name, err))
		}
	}
	return t, nil
}

// maxPolicySize is far more than a policy with a statement for each repository
// of a large registry has.
const maxPolicySize = 4 << 20

// readPolicy returns the text of the policy, and what to call it in errors.
func readPolicy(o trustOptions) (source string, content []byte, err error) {
	if strings.HasPrefix(strings.TrimSpace(o.policy), "{") {
		return "trust_policy", []byte(o.policy), nil
	}
	path := o.policy
	lookUp := os.Stat
	if path == "" {
		path = filepath.Join(o.notationDir, dir.PathTrustPolicy)
		lookUp = os.Lstat // notation refuses a symbolic link there
	}
	info, err := lookUp(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.policy == "":
		return "", nil, fmt.Errorf("there is nobody to trust: trust_policy and trusted_certificates are not set, "+
			"and notation has no trust policy here (%s)", path)
	case err != nil:
		return "", nil, fmt.Errorf("trust_policy is neither JSON nor a file that can be read: %w", err)
	case !info.Mode().IsRegular():
		return "", nil, fmt.Errorf("trust policy %s is not a regular file", path)
	}
	content, err = readFile(path, maxPolicySize)
	if err != nil {
		return "", nil, fmt.Errorf("trust policy: %w", err)
	}
	return "trust policy " + path, content, nil
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
