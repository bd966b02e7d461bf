// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"strings"
	"time"

	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// mode is what a run does.
type mode string

const (
	modeSign          mode = "sign"
	modeVerify        mode = "verify"
	modeSignAndVerify mode = "sign-and-verify"
	modeInspect       mode = "inspect"
	modePromote       mode = "promote"
)

// signs says whether the mode makes signatures.
func (m mode) signs() bool { return m == modeSign || m == modeSignAndVerify }

// verifies says whether the mode evaluates the trust policy.
func (m mode) verifies() bool {
	return m == modeVerify || m == modeSignAndVerify || m == modePromote
}

// writes says whether the mode changes what is in a registry.
func (m mode) writes() bool { return m.signs() || m == modePromote }

// inputs is everything that a user said, parsed and checked.
type inputs struct {
	mode    mode
	targets []string // references
	sources []string // one, or as many as targets
	tags    []string // names, or references

	copyReferrers referrerChoice
	attach        []attachment
	destinations  []destination // what targets, sources and tags come to; empty without sources and tags

	keyID          string
	keyName        string
	pluginName     string
	pluginURL      string
	pluginChecksum string // SHA-256, 64 lower-case hexadecimal digits
	pluginConfig   map[string]string
	pin            registry.Secret
	module         string
	certChain      string // a path, or PEM
	auditLog       string

	envelopeType      string // media type
	userMetadata      map[string]string
	expiry            time.Duration // zero: none
	timestampURL      string
	timestampRootCert string // a path, or PEM
	skipSigned        bool
	renewWithin       time.Duration // zero: never
	recursive         bool

	trustPolicy         string // a path, or JSON
	trustStore          string
	trustPolicyScope    orasregistry.Reference // of what is in layouts; zero: none
	trustedCertificates string                 // paths one a line, or PEM
	trustedIdentities   []string
	verificationLevel   string
	maxSignatures       int
	crlFiles            []string
	requiredReferrers   []string // artifact types

	registryUsername   string
	registryPassword   registry.Secret
	sourceUsername     string
	sourcePassword     registry.Secret
	insecureRegistries []string
	tokenServers       []string
	referrersTag       string // auto, true or false

	concurrency int
	sessions    int
	timeout     time.Duration
	warnWithin  time.Duration // zero: never
	report      string
}

// parseInputs parses what lookUp has of each input, and checks that the inputs
// go together. The error names all inputs at fault, and holds no secret.
func parseInputs(lookUp func(input) string) (inputs, error) {
	var in inputs
	var faults []error
	for _, input := range inputTable {
		value := lookUp(input)
		if strings.TrimSpace(value) == "" {
			value = input.fallback
		}
		if value == "" {
			continue
		}
		if input.secret { // white space may be meant; the end of a line is not
			value = strings.TrimRight(value, "\r\n")
		} else {
			value = strings.TrimSpace(value)
		}
		if err := input.set(&in, value); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", input.name, err))
		}
	}
	if faults == nil { // else they would show up twice
		faults = in.check()
	}
	return in, errors.Join(faults...)
}

// secretVariables are the environment variables that hold secret inputs, which
// no other process is to see.
func secretVariables() []string {
	var names []string
	for _, input := range inputTable {
		if input.secret {
			names = append(names, input.variable())
		}
	}
	return names
}
