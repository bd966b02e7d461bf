// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/auditlog"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// Probe goes to a key one step at a time, where an Opener goes at once. The
// steps are taken in the order of the methods, each after the one before
// succeeded. Errors are those of an Opener.
type Probe interface {
	// Load loads the module and returns its path and what it says of itself.
	Load(ctx context.Context) (path string, info pkcs11.ModuleInfo, err error)
	// Token finds the one token that the settings select.
	Token(ctx context.Context) (pkcs11.TokenStatus, error)
	// Login logs in, if the token wants it.
	Login(ctx context.Context) error
	// Key opens the one private key that the settings select.
	Key(ctx context.Context) (ProbedKey, error)
}

// ProbedKey is a Key that also says how it signs.
type ProbedKey interface {
	Key
	// Mechanisms names the PKCS#11 mechanisms for such a signature, in the order
	// in which they are tried; after a signature, the one that made it is first.
	Mechanisms(ctx context.Context, opts crypto.SignerOpts) ([]string, error)
}

// Outcome is how a step of a check ended.
type Outcome string

// The outcomes.
const (
	OutcomeOK      Outcome = "ok"
	OutcomeWarning Outcome = "warning" // it works, but look at Problem
	OutcomeFailed  Outcome = "failed"
	OutcomeSkipped Outcome = "skipped" // a step before it failed
)

// Step is one step of a check. Texts are printable: what they repeat of tokens
// and certificates is escaped.
type Step struct {
	// Name is "module", "token", "login", "key", "usable", "mechanism",
	// "certificates" or "signature".
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	// Duration is how long it took, in JSON as nanoseconds.
	Duration time.Duration `json:"durationNanoseconds"`
	// Found is what was found, where the step did not fail.
	Found string `json:"found,omitempty"`
	// Problem is what failed, or what to be warned of; Advice is what to do, a
	// sentence without its full stop. The advice may be part of the problem.
	Problem string `json:"problem,omitempty"`
	Advice  string `json:"advice,omitempty"`
	// Candidates are URIs of the tokens or keys that there are instead, or to
	// choose from.
	Candidates []string `json:"candidates,omitempty"`
}

// Report is the result of a check.
type Report struct {
	// Usable is true if a real signature was made and verified, and the
	// certificate chain is one that notation accepts.
	Usable bool   `json:"usable"`
	Steps  []Step `json:"steps"`
	// KeySpec is the contract's name of the key's type, such as EC-256, once it
	// is known.
	KeySpec string `json:"keySpec,omitempty"`
	// Certificates are those of the key, the one that signatures carry first.
	Certificates []CertificateUse `json:"certificates,omitempty"`
	// Token is the token, once it was found. Its texts are as the token has them.
	Token *pkcs11.TokenStatus `json:"-"`
}

// Check goes to the key that the settings select, step by step, and makes a
// signature of no use with it. Steps after one that failed are skipped, but the
// signature is tried without certificates, too. ctx bounds it all.
func Check(ctx context.Context, p Probe, s Settings, now time.Time) Report {
	c := &check{probe: p, settings: s, now: now}
	failed := false
	for _, step := range checkSteps {
		result := Step{Name: step.name, Outcome: OutcomeSkipped}
		if !failed {
			result = c.take(ctx, step)
			failed = result.Outcome == OutcomeFailed && !step.optional
		}
		c.report.Steps = append(c.report.Steps, result)
	}
	c.report.Usable = !slices.ContainsFunc(c.report.Steps, func(s Step) bool {
		return s.Outcome == OutcomeFailed || s.Outcome == OutcomeSkipped
	})
	return c.report
}

// check is what the steps of a check hand on.
type check struct {
	probe    Probe
	settings Settings
	now      time.Time
	report   Report

	key      ProbedKey
	unusable error // of a key that was found
	spec     keySpec
}

// checkStep is one row of the table of steps. Its function returns what was
// found; a warning is an error of type warning.
type checkStep struct {
	name     string
	take     func(*check, context.Context) (found string, err error)
	optional bool   // those after it can be taken even if it failed
	advice   string // where its error has none
}

var checkSteps = []checkStep{
	{name: "module", take: (*check).loadModule},
	{name: "token", take: (*check).findToken},
	{name: "login", take: (*check).login},
	{name: "key", take: (*check).findKey},
	{name: "usable", take: (*check).judgeKey, advice: ofKind[pkcs11.KindKey].todo},
	{name: "mechanism", take: (*check).chooseMechanism},
	{name: "certificates", take: (*check).findCertificates, optional: true},
	{name: "signature", take: (*check).makeSignature},
}

// warning is the error of a step that succeeded all the same.
type warning struct{ problem, advice string }

func (w warning) Error() string { return w.problem }

func (c *check) take(ctx context.Context, step checkStep) Step {
	start := time.Now()
	found, err := step.take(c, ctx)
	result := Step{Name: step.name, Outcome: OutcomeOK, Duration: time.Since(start), Found: printable(found)}
	var w warning
	switch {
	case errors.As(err, &w):
		result.Outcome, result.Problem, result.Advice = OutcomeWarning, printable(w.problem), w.advice
	case err != nil:
		result.Outcome, result.Found = OutcomeFailed, ""
		var failed *pkcs11.Error
		if errors.As(err, &failed) && failed.Candidates != nil {
			bare := *failed
			err, bare.Candidates, result.Candidates = &bare, nil, failed.Candidates
		}
		result.Problem, result.Advice = Explain(err, c.settings)
		result.Advice = cmp.Or(result.Advice, step.advice)
	}
	return result
}

func (c *check) loadModule(ctx context.Context) (string, error) {
	path, info, err := c.probe.Load(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s)", path, strings.Join(strings.Fields(info.Manufacturer+" "+info.Description+" "+info.Version), " ")), cmp.Or(c.settings.sandboxWarning(), moduleWarning(path))
}

func (c *check) findToken(ctx context.Context) (string, error) {
	token, err := c.probe.Token(ctx)
	if err != nil {
		return "", err
	}
	c.report.Token = &token
	if token.Has(pkcs11.FlagPINCountLow) && !token.Has(pkcs11.FlagPINFinalTry) {
		return token.URI.String(), warning{"a wrong PIN was used before", "Check " + c.settings.pinFrom + "; a login with the right PIN resets the counter"}
	}
	return token.URI.String(), nil
}

func (c *check) login(ctx context.Context) (string, error) {
	if err := c.probe.Login(ctx); err != nil {
		if unlogged := c.recordLogin(err); unlogged != nil {
			err = fmt.Errorf("%w; and this is not in the log: %v", err, unlogged)
		}
		return "", err
	}
	if !c.report.Token.Has(pkcs11.FlagLoginRequired) {
		return "the token wants none", nil
	}
	return "with " + c.settings.pinFrom, c.settings.pinWarning()
}

// findKey leaves it to judgeKey to say that the key found can't be used.
func (c *check) findKey(ctx context.Context) (found string, err error) {
	found = c.settings.URI.Selection().String()
	c.key, err = c.probe.Key(ctx)
	for _, kind := range []pkcs11.Kind{pkcs11.KindKey, pkcs11.KindNotPermitted, pkcs11.KindPublicKey} {
		if pkcs11.IsKind(err, kind) {
			c.unusable = err
			return found, nil
		}
	}
	return found, err
}

func (c *check) judgeKey(context.Context) (string, error) {
	if c.unusable != nil {
		return "", c.unusable
	}
	var err error
	if c.spec, err = specOf(c.key.Public()); err != nil {
		return "", err
	}
	c.report.KeySpec = string(c.spec.name)
	return c.report.KeySpec, nil
}

func (c *check) chooseMechanism(ctx context.Context) (string, error) {
	mechanisms, err := c.key.Mechanisms(ctx, c.spec.options())
	if err != nil {
		return "", err
	}
	if len(mechanisms) == 1 {
		return mechanisms[0], nil
	}
	return mechanisms[0] + ", else " + strings.Join(mechanisms[1:], ", "), nil
}

func (c *check) findCertificates(ctx context.Context) (string, error) {
	onToken, err := c.key.Certificates(ctx)
	if err != nil {
		return "", err
	}
	a := Assess(pkcs11.KeyInfo{Public: c.key.Public()}, onToken, c.settings.Certificates, c.now)
	if a.InUse != nil {
		c.report.Certificates = append([]CertificateUse{*a.InUse}, a.Others...)
	}
	chain, err := findChain(c.key.Public(), onToken, c.settings.Certificates, c.now)
	if err != nil {
		return "", err
	}
	var names []string
	for _, certificate := range chain {
		names = append(names, quote(cmp.Or(certificate.Subject.CommonName, certificate.Subject.String())))
	}
	found := strings.Join(names, " issued by ") + ", valid until " + day(chain[0].NotAfter)
	var problems, advices []string
	warn := func(problem, advice string) {
		problems, advices = append(problems, problem), append(advices, advice)
	}
	for _, other := range a.Others {
		found += fmt.Sprintf("; another certificate for this key, %s (serial number %s, until %s), is not used: %s", quote(other.Name), other.SerialNumber, day(other.NotAfter), other.Why)
	}
	if others := othersLeaf(c.settings.Certificates, chain); others != nil {
		warn("cert_chain holds no certificate of this key, but "+nameOf(others)+", which is another key's; signatures carry the one on the token",
			"Set cert_chain to a file with this key's certificate, or leave it out")
	}
	leaf := chain[0]
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageCodeSigning) {
		warn("the certificate lacks the extended key usage codeSigning: notation accepts that, but other verifiers may not", "Have it issued again with codeSigning")
	}
	if identity := CheckIdentity(leaf.Subject); identity != "" {
		warn("as for the certificate, "+identity, "Have it issued again with C, ST and O in its subject")
	}
	if a.Warning != "" {
		warn(a.Warning, "Have it renewed before that")
	}
	if len(problems) > 0 {
		return found, warning{strings.Join(problems, "; "), strings.Join(advices, ". ")}
	}
	return found, c.settings.chainWarning()
}

// checkPayload is what a check signs: nothing that a verifier could take for an
// envelope's content.
var checkPayload = []byte("notation-pkcs11 check: this signature means nothing")

func (c *check) makeSignature(ctx context.Context) (string, error) {
	if _, err := sign(ctx, c.key, c.spec, c.key.Public(), checkPayload); err != nil {
		return "", err
	}
	mechanisms, err := c.key.Mechanisms(ctx, c.spec.options())
	if err != nil {
		return "", err
	}
	if err := c.record(auditlog.Entry{Event: auditlog.Probe, Mechanism: mechanisms[0]}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s made with %s, and verified", c.spec.algorithm, mechanisms[0]), nil
}

// recordLogin records a login that failed.
func (c *check) recordLogin(err error) error {
	if !IsLoginFailure(err) {
		return nil
	}
	return c.record(auditlog.Entry{Event: auditlog.LoginFailure, Reason: err.Error()})
}

// record writes a line to the audit log, if there is one.
func (c *check) record(e auditlog.Entry) error {
	if c.settings.AuditLog == "" {
		return nil
	}
	log, err := auditlog.Open(c.settings.AuditLog)
	if err != nil {
		return err
	}
	defer log.Close()
	e.Key, e.Peer = c.settings.URI.Selection().String(), parent()
	if c.report.Token != nil {
		e.TokenSerial = c.report.Token.Serial
	}
	_, err = log.Append(e)
	return err
}
