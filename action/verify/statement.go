// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"oras.land/oras-go/v2/registry"

	notaryregistry "github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
)

// statement is the statement of a trust policy that applies to a repository,
// and why.
type statement struct {
	policy *trustpolicy.TrustPolicy
	// level is what the statement enforces. Its name is "custom" where the
	// statement overrides a part of the level that it names.
	level *trustpolicy.VerificationLevel
	// scope is the registry scope that matched: a repository, or "*".
	scope string
	// reason is a sentence that says why the statement applies.
	reason string
}

// skips says whether the statement wants nothing verified.
func (s *statement) skips() bool { return s.level == trustpolicy.LevelSkip }

// enforces says whether a signature that fails a check of this type is no good.
func (s *statement) enforces(kind trustpolicy.ValidationType) bool {
	return s.level.Enforcement[kind] == trustpolicy.ActionEnforce
}

// report is the statement as reports have it.
func (s *statement) report() *report.Statement {
	r := &report.Statement{
		Name:       s.policy.Name,
		Scope:      s.scope,
		Reason:     s.reason,
		Level:      s.policy.SignatureVerification.VerificationLevel,
		Actions:    map[string]string{},
		Stores:     s.policy.TrustStores,
		Identities: s.policy.TrustedIdentities,
	}
	for kind, action := range s.level.Enforcement {
		r.Actions[string(kind)] = string(action)
	}
	return r
}

// uncoveredError says that no statement of the policy applies to a repository.
type uncoveredError struct {
	repository string
	scopes     []report.Unmatched // all scopes of the policy, in its order
}

func (e *uncoveredError) Error() string {
	const limit = 3 // the reports have them all
	var b strings.Builder
	fmt.Fprintf(&b, "no statement of the trust policy applies to %s", e.repository)
	for i, s := range e.scopes {
		if i == limit {
			fmt.Fprintf(&b, "; and %d more", len(e.scopes)-limit)
			break
		}
		fmt.Fprintf(&b, "; scope %q of statement %q %s", s.Scope, s.Statement, s.Reason)
	}
	b.WriteString("; add the repository to the registryScopes of the statement that is meant for it")
	return b.String()
}

// repositoryOf is what a registry scope has to say to name an artifact. What is in a
// layout and was given no scope has no such name.
func repositoryOf(ref registry.Reference) string {
	if ref == (registry.Reference{}) {
		return withoutScope
	}
	return ref.Registry + "/" + ref.Repository
}

// withoutScope is what an artifact without a scope is called.
const withoutScope = "layouts without a scope"

// artifactReference is what notation-go finds the statement of a signature by. Where
// there is no scope, that statement is for all, and any name of a repository will do.
func artifactReference(t notaryregistry.Target) string {
	name := "layout.invalid/layout"
	if scope := t.Store.Scope(); scope != (registry.Reference{}) {
		name = repositoryOf(scope)
	}
	return name + "@" + t.Desc.Digest.String()
}

// statementFor returns the statement that applies to an artifact, or an
// *uncoveredError.
func (t *Trust) statementFor(ref registry.Reference) (*statement, error) {
	repository := repositoryOf(ref)
	if known, ok := t.applicable.Load(repository); ok {
		return known.(*statement), nil
	}
	s, err := t.selectStatement(repository)
	if err == nil {
		t.applicable.Store(repository, s)
	}
	return s, err
}

func (t *Trust) selectStatement(repository string) (*statement, error) {
	policy, err := t.policy.GetApplicableTrustPolicy(repository + "@") // it cuts at the @
	if repository == withoutScope {
		policy, err = t.forAllScopes()
	}
	if err != nil {
		return nil, t.uncovered(repository)
	}
	level, err := policy.SignatureVerification.GetVerificationLevel()
	if err != nil { // the policy is valid
		return nil, fmt.Errorf("trust policy statement %q: %w", policy.Name, err)
	}
	s := &statement{policy: policy, level: level, scope: repository, reason: "its registry scopes name the repository"}
	if slices.Contains(policy.RegistryScopes, "*") {
		s.scope, s.reason = "*", `no statement names the repository, and this one's scope "*" covers all others`
	}
	if repository == withoutScope {
		s.reason = `the artifact is in a layout and no scope is set for it, so the statement with the scope "*" applies`
	}
	return s, nil
}

// forAllScopes returns the statement whose scope is "*".
func (t *Trust) forAllScopes() (*trustpolicy.TrustPolicy, error) {
	for i := range t.policy.TrustPolicies {
		if policy := &t.policy.TrustPolicies[i]; slices.Contains(policy.RegistryScopes, "*") {
			return policy, nil
		}
	}
	return nil, errors.New("no statement is for all scopes")
}

// uncovered explains why no statement applies.
func (t *Trust) uncovered(repository string) error {
	e := &uncoveredError{repository: repository}
	for _, policy := range t.policy.TrustPolicies {
		for _, scope := range policy.RegistryScopes {
			e.scopes = append(e.scopes, report.Unmatched{Statement: policy.Name, Scope: scope, Reason: whyUnmatched(scope, repository)})
		}
	}
	return e
}

// whyUnmatched says in what a scope differs from the repository that it does
// not match. The sentence begins with a verb.
func whyUnmatched(scope, repository string) string {
	scopeHost, scopePath, _ := strings.Cut(scope, "/")
	host, path, _ := strings.Cut(repository, "/")
	sameHost, samePath := scopeHost == host, scopePath == path
	switch {
	case scope == "*":
		return "covers all well-formed names of repositories, and this is not one"
	case strings.EqualFold(scope, repository):
		return "differs in upper and lower case"
	case samePath && hostname(scopeHost) == hostname(host):
		return "has another port"
	case samePath:
		return "is on another registry"
	case sameHost && strings.HasPrefix(path, scopePath+"/"):
		return "names a repository above it; a scope covers one repository, not the repositories below it"
	case sameHost && strings.HasPrefix(scopePath, path+"/"):
		return "names a repository below it"
	case sameHost:
		return "names another repository of this registry"
	default:
		return "names another registry and repository"
	}
}

func hostname(host string) string {
	name, _, _ := strings.Cut(host, ":")
	return name
}

// Check returns an error if no signature of an artifact can ever be good,
// because none of the certificates that its statement trusts can be read. That
// is a mistake in the inputs, and known before the first request. That no
// statement applies is not: that artifact fails, and others are verified.
func (t *Trust) Check(ref registry.Reference) error {
	s, err := t.statementFor(ref)
	if err != nil && ref == (registry.Reference{}) {
		return errors.New("a target is an OCI image layout, which is in no repository, and no statement of the trust policy has the scope *; set trust_policy_scope to a repository that a statement names")
	}
	if err != nil && strings.HasPrefix(ref.Registry, "[") {
		return fmt.Errorf("%s: no registry scope of a trust policy can name an IPv6 address, and * doesn't include it; use the host name of the registry", repositoryOf(ref))
	}
	if err != nil || !s.enforces(trustpolicy.TypeAuthenticity) {
		return nil
	}
	if !slices.ContainsFunc(s.policy.TrustedIdentities, func(identity string) bool {
		return identity == everybody || strings.HasPrefix(identity, identityPrefix)
	}) {
		return checkIdentities(fmt.Sprintf("trust policy statement %q, which applies to %s", s.policy.Name, repositoryOf(ref)), s.policy.TrustedIdentities)
	}
	// A signature's scheme says which of the two types it needs.
	ca, caErr := t.anchors(s, truststore.TypeCA)
	authority, authorityErr := t.anchors(s, truststore.TypeSigningAuthority)
	if len(ca)+len(authority) > 0 {
		return nil
	}
	if err := errors.Join(caErr, authorityErr); err != nil {
		return fmt.Errorf("trust policy statement %q, which applies to %s: %w", s.policy.Name, repositoryOf(ref), err)
	}
	return fmt.Errorf("trust policy statement %q, which applies to %s, names no trust store of type ca or signingAuthority",
		s.policy.Name, repositoryOf(ref))
}

// anchors returns the certificates of the statement's stores of a type, or the
// first error, for notation wants to have read them all.
func (t *Trust) anchors(s *statement, kind truststore.Type) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for _, name := range t.stores.of(kind, s.policy) {
		store := t.stores[name]
		if store.err != nil {
			return nil, fmt.Errorf("trust store %s: %w", name, store.err)
		}
		all = append(all, store.certs...)
	}
	return all, nil
}
