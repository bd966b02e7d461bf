// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"crypto"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// softProbe goes to a key in memory, and fails at a step if it is told to.
type softProbe struct {
	*softToken
	path  string // of the module
	flags uint
	fails map[string]error // by step
}

func (p *softProbe) Load(context.Context) (string, pkcs11.ModuleInfo, error) {
	return p.path, pkcs11.ModuleInfo{Manufacturer: "Soft", Description: "Soft \x1b[31mtoken", Version: "1.0"}, p.fails["module"]
}

func (p *softProbe) Token(context.Context) (pkcs11.TokenStatus, error) {
	uri, _ := pkcs11.ParseURI("pkcs11:token=T")
	return pkcs11.TokenStatus{TokenInfo: pkcs11.TokenInfo{Label: "T", Flags: p.flags}, URI: uri}, p.fails["token"]
}

func (p *softProbe) Login(context.Context) error { return p.fails["login"] }

func (p *softProbe) Key(context.Context) (ProbedKey, error) {
	if err := p.fails["key"]; err != nil {
		return nil, err
	}
	return probedKey{softKey{p.softToken}, p}, nil
}

type probedKey struct {
	softKey
	probe *softProbe
}

func (k probedKey) Mechanisms(context.Context, crypto.SignerOpts) ([]string, error) {
	return []string{"CKM_FIRST", "CKM_SECOND"}, k.probe.fails["mechanism"]
}

func newProbe(t *testing.T, spec contract.KeySpec) *softProbe {
	t.Helper()
	return &softProbe{softToken: newToken(t, spec), path: "/lib/soft.so", flags: pkcs11.FlagLoginRequired, fails: map[string]error{}}
}

// checked checks a key with the settings of testKeyID, and PIN from nowhere.
func (p *softProbe) checked(t *testing.T) Report {
	t.Helper()
	s, err := ParseSettings(testKeyID, nil, func(string) string { return "" }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Check(t.Context(), p, s, time.Now())
}

// outcomes lists them, as name:outcome.
func outcomes(r Report) string {
	var list []string
	for _, step := range r.Steps {
		list = append(list, step.Name+":"+string(step.Outcome))
	}
	return strings.Join(list, " ")
}

const allGood = "module:ok token:ok login:ok key:ok usable:ok mechanism:ok certificates:ok signature:ok"

func TestCheckOfEachTypeOfKeySigns(t *testing.T) {
	for _, spec := range keySpecs {
		t.Run(string(spec.name), func(t *testing.T) {
			p := newProbe(t, spec.name)
			report := p.checked(t)
			if !report.Usable || outcomes(report) != allGood {
				t.Errorf("usable %v: %+v", report.Usable, report.Steps)
			}
			if p.signatures != 1 || report.KeySpec != string(spec.name) {
				t.Errorf("%d signatures, key spec %s", p.signatures, report.KeySpec)
			}
			if found := report.Steps[len(report.Steps)-1].Found; !strings.Contains(found, string(spec.algorithm)) || !strings.Contains(found, "CKM_FIRST") {
				t.Errorf("signature: %q", found)
			}
			if found := report.Steps[0].Found; strings.Contains(found, "\x1b") || !strings.Contains(found, "/lib/soft.so") {
				t.Errorf("module: %q", found)
			}
		})
	}
}

// What a group can change works, but it is said.
func TestCheckWarnsOfFilesThatAGroupCanChange(t *testing.T) {
	dir := t.TempDir()
	module, pin, chain := filepath.Join(dir, "module.so"), filepath.Join(dir, "pin"), filepath.Join(dir, "chain.pem")
	for _, path := range []string{module, pin, chain} {
		if err := os.WriteFile(path, testenv.EncodePEM(testPKI().Root), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o660); err != nil {
			t.Fatal(err)
		}
	}
	p := newProbe(t, contract.KeySpecEC256)
	p.path = module
	s, err := ParseSettings(testKeyID, map[string]string{"pin_source": "file:" + pin, "cert_chain": chain}, func(string) string { return "" }, nil)
	if err != nil {
		t.Fatal(err)
	}
	report := Check(t.Context(), p, s, time.Now())
	want := strings.NewReplacer("module:ok", "module:warning", "login:ok", "login:warning", "certificates:ok", "certificates:warning").Replace(allGood)
	if !report.Usable || outcomes(report) != want {
		t.Errorf("usable %v: %+v", report.Usable, report.Steps)
	}
	logged := strings.Join(s.Warnings(module), "\n")
	for step, path := range map[int]string{0: module, 2: pin, 6: chain} {
		if s := report.Steps[step]; !strings.Contains(s.Problem, "can be changed by the users of group") || s.Advice != "To keep them out, run: chmod g-w '"+path+"'" || !strings.Contains(logged, s.Advice) {
			t.Errorf("%+v, logged %q", s, logged)
		}
	}
}

func TestCheckExplainsTheStepThatFails(t *testing.T) {
	call := func(name string, rv uint) error {
		return &pkcs11.Error{Kind: pkcs11.KindCall, Message: "it failed", Call: name, RV: rv}
	}
	kind := func(k pkcs11.Kind) error { return &pkcs11.Error{Kind: k, Message: "it failed"} }
	for name, test := range map[string]struct {
		step, advice string
		err          error
		outcomes     string
	}{
		"no module": {"module", "module-path", kind(pkcs11.KindModule),
			"module:failed token:skipped login:skipped key:skipped usable:skipped mechanism:skipped certificates:skipped signature:skipped"},
		"no token": {"token", "Correct the token's attributes", kind(pkcs11.KindNoToken),
			"module:ok token:failed login:skipped key:skipped usable:skipped mechanism:skipped certificates:skipped signature:skipped"},
		"wrong PIN": {"login", "before the token locks", call("C_Login", ckrPINIncorrect),
			"module:ok token:ok login:failed key:skipped usable:skipped mechanism:skipped certificates:skipped signature:skipped"},
		"locked": {"login", "Reset the PIN", kind(pkcs11.KindPINLocked),
			"module:ok token:ok login:failed key:skipped usable:skipped mechanism:skipped certificates:skipped signature:skipped"},
		"no key": {"key", "object=", kind(pkcs11.KindNoKey),
			"module:ok token:ok login:ok key:failed usable:skipped mechanism:skipped certificates:skipped signature:skipped"},
		"no public key": {"key", "Import the key's certificate", kind(pkcs11.KindPublicKey),
			"module:ok token:ok login:ok key:ok usable:failed mechanism:skipped certificates:skipped signature:skipped"},
		"not for signing": {"key", "CKA_SIGN", kind(pkcs11.KindNotPermitted),
			"module:ok token:ok login:ok key:ok usable:failed mechanism:skipped certificates:skipped signature:skipped"},
		"another type": {"key", "Use another key", kind(pkcs11.KindKey),
			"module:ok token:ok login:ok key:ok usable:failed mechanism:skipped certificates:skipped signature:skipped"},
		"no mechanism": {"mechanism", "Allow one of these mechanisms", kind(pkcs11.KindMechanism),
			"module:ok token:ok login:ok key:ok usable:ok mechanism:failed certificates:skipped signature:skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbe(t, contract.KeySpecEC256)
			p.fails[test.step] = test.err
			report := p.checked(t)
			if report.Usable || outcomes(report) != test.outcomes {
				t.Errorf("usable %v: %s", report.Usable, outcomes(report))
			}
			n := slices.IndexFunc(report.Steps, func(s Step) bool { return s.Outcome == OutcomeFailed })
			if s := report.Steps[n]; !strings.Contains(s.Problem, "it failed") || !strings.Contains(s.Advice, test.advice) {
				t.Errorf("problem %q, advice %q", s.Problem, s.Advice)
			}
			if p.signatures > 0 {
				t.Error("signed")
			}
		})
	}
}

// A key without certificates signs all the same, which is worth knowing; it is
// not usable for that.
func TestCheckWithoutCertificatesSignsAndFails(t *testing.T) {
	p := newProbe(t, contract.KeySpecEC384)
	p.certificates = nil
	report := p.checked(t)
	if want := "module:ok token:ok login:ok key:ok usable:ok mechanism:ok certificates:failed signature:ok"; report.Usable || outcomes(report) != want {
		t.Errorf("usable %v: %s", report.Usable, outcomes(report))
	}
	if advice := report.Steps[6].Advice; !strings.Contains(advice, "csr") {
		t.Errorf("advice %q", advice)
	}
}

func TestCheckFailsOnEveryBrokenChain(t *testing.T) {
	for _, variant := range testenv.Broken {
		t.Run(variant.Name, func(t *testing.T) {
			p := newProbe(t, contract.KeySpecEC256)
			var err error
			if p.certificates, err = variant.Bundle(testPKI(), p.key.Public()); err != nil {
				t.Fatal(err)
			}
			report := p.checked(t)
			s := report.Steps[6]
			if report.Usable || s.Outcome != OutcomeFailed || !strings.Contains(s.Problem, ruleOf(variant)) {
				t.Errorf("usable %v: %+v", report.Usable, s)
			}
			// A certificate is there: none is to be asked for.
			if isMissing := strings.Contains(s.Problem, "is missing"); isMissing != strings.Contains(s.Advice, "Add the CA's certificates") ||
				strings.Contains(s.Advice, "csr") != strings.Contains(s.Problem, "there is no certificate for this key") {
				t.Errorf("the advice on %q is %q", s.Problem, s.Advice)
			}
		})
	}
}

func TestCheckWarnsAndSucceeds(t *testing.T) {
	p := newProbe(t, contract.KeySpecEC256)
	p.flags |= pkcs11.FlagPINCountLow
	var err error
	if p.certificates, err = testenv.Harmless[0].Bundle(testPKI(), p.key.Public()); err != nil { // no EKU
		t.Fatal(err)
	}
	report := p.checked(t)
	if want := "module:ok token:warning login:ok key:ok usable:ok mechanism:ok certificates:warning signature:ok"; !report.Usable || outcomes(report) != want {
		t.Errorf("usable %v: %s", report.Usable, outcomes(report))
	}
	if s := report.Steps[6]; !strings.Contains(s.Problem, "codeSigning") || !strings.Contains(s.Found, testenv.LeafName) {
		t.Errorf("certificates: %+v", s)
	}
}

func TestCheckWarnsOfACertChainOfAnotherKey(t *testing.T) {
	p := newProbe(t, contract.KeySpecEC256)
	root, other := newEntity(t, "another root"), newEntity(t, "another signer")
	for name, test := range map[string]struct {
		certChain []*x509.Certificate
		warned    bool
	}{
		"another key's chain":          {[]*x509.Certificate{other.certify(root, asLeaf), root.certify(root)}, true},
		"authorities alone":            {[]*x509.Certificate{root.certify(root)}, false},
		"the key's own beside others'": {append([]*x509.Certificate{other.certify(root, asLeaf)}, p.certificates...), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSettings(testKeyID, nil, func(string) string { return "" }, nil)
			if err != nil {
				t.Fatal(err)
			}
			s.Certificates = test.certChain
			report := Check(t.Context(), p, s, time.Now())
			step := report.Steps[6]
			if warned := strings.Contains(step.Problem, `no certificate of this key, but "CN=another signer"`); !report.Usable || warned != test.warned {
				t.Errorf("usable %v: %+v", report.Usable, step)
			}
		})
	}
}

func TestCheckDoesNotBelieveTheToken(t *testing.T) {
	p := newProbe(t, contract.KeySpecRSA2048)
	p.tamper = func(signature []byte) []byte { signature[7] ^= 1; return signature }
	report := p.checked(t)
	if s := report.Steps[7]; report.Usable || s.Outcome != OutcomeFailed || !strings.Contains(s.Problem, "wrong signature") {
		t.Errorf("usable %v: %+v", report.Usable, s)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	p := newProbe(t, contract.KeySpecEC256)
	p.sign = func(context.Context) error { return context.DeadlineExceeded }
	report := p.checked(t)
	if s := report.Steps[7]; s.Outcome != OutcomeFailed || !strings.Contains(s.Problem, "not finished within 1m0s") || !strings.Contains(s.Advice, "timeout") {
		t.Errorf("%+v", s)
	}
}
