// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/dir"
	notationverifier "github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/signed"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// faultStep is a request of a run that a fault can happen to.
type faultStep struct {
	mode  mode
	name  string
	class registryfaults.Class
	nth   int // of its class
	// tagSchema says that the step is one on registries without the Referrers
	// API alone.
	tagSchema bool
}

// faultSteps are all requests of a run that signs or verifies one artifact, on one
// kind of registry or another.
var faultSteps = []faultStep{
	{modeSign, "token", registryfaults.GetToken, 1, false},
	{modeSign, "token to push", registryfaults.GetToken, 2, false},
	{modeSign, "artifact", registryfaults.GetManifest, 1, false},
	{modeSign, "config blob", registryfaults.HeadBlob, 1, false},
	{modeSign, "begin an upload", registryfaults.PostUpload, 1, false},
	{modeSign, "begin another upload", registryfaults.PostUpload, 2, false},
	{modeSign, "upload", registryfaults.PutUpload, 1, false},
	{modeSign, "upload another", registryfaults.PutUpload, 2, false},
	{modeSign, "signature manifest", registryfaults.PutManifest, 1, false},
	{modeSign, "list by API", registryfaults.GetReferrers, 1, false},
	{modeSign, "read index", registryfaults.GetIndex, 1, true},
	{modeSign, "write index", registryfaults.PutIndex, 1, true},
	{modeSign, "find no API", registryfaults.GetReferrers, 1, true},
	{modeSign, lastLook, registryfaults.GetIndex, 2, true},

	{modeVerify, "token", registryfaults.GetToken, 1, false},
	{modeVerify, "artifact", registryfaults.HeadManifest, 1, false},
	{modeVerify, "list by API", registryfaults.GetReferrers, 1, false},
	{modeVerify, "find no API", registryfaults.GetReferrers, 1, true},
	{modeVerify, "list by index", registryfaults.GetIndex, 1, true},
	{modeVerify, "signature manifest", registryfaults.GetManifest, 1, false},
	{modeVerify, "envelope", registryfaults.GetBlob, 1, false},
}

// anotherOf are the steps that are of a kind with an earlier one.
var anotherOf = []string{"token to push", "begin another upload", "upload another"}

// lastLook is the one step that takes its time, whatever the timeout is.
const lastLook = "last look"

// faultWorld has a registry of each kind, a signer, and a verifier that is not
// ours.
type faultWorld struct {
	root     *pki.Certificate
	signer   *pki.Certificate
	stranger *pki.Certificate
	kinds    []faultKind
	notation notation.Verifier
	command  *testenv.Notation
}

// faultKind is a kind of registry.
type faultKind struct {
	name     string
	api      bool
	registry *testenv.Registry
	steps    map[faultStep]bool
	sample   *sync.Once         // for what takes a process
	good     ocispec.Descriptor // an image that is signed well
	bad      ocispec.Descriptor // one that a stranger signed
}

func newFaultWorld(t *testing.T) *faultWorld {
	t.Helper()
	w := &faultWorld{root: pki.New(t, "acme root", nil, pki.AsAuthority)}
	w.signer = pki.New(t, "release", w.root, pki.AsSigner)
	w.stranger = pki.New(t, "stranger", pki.New(t, "other root", nil, pki.AsAuthority), pki.AsSigner)
	store := filepath.Join(t.TempDir(), "truststore")
	folder := filepath.Join(store, "x509", "ca", "acme")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "root.pem"), testenv.EncodePEM(w.root.Cert), 0o600); err != nil {
		t.Fatal(err)
	}
	policy := trustpolicy.Document{Version: "1.0", TrustPolicies: []trustpolicy.TrustPolicy{signed.Statement(nil)}}
	var err error
	if w.notation, err = notationverifier.NewWithOptions(&policy, truststore.NewX509TrustStore(dir.NewSysFS(filepath.Dir(store))), nil, notationverifier.VerifierOptions{}); err != nil {
		t.Fatal(err)
	}
	w.command = testenv.Start(t, testenv.NewNotation)
	if err := w.command.Trust(w.root.Cert); err != nil {
		t.Fatal(err)
	}
	for _, kind := range testenv.RegistryKinds {
		k := faultKind{name: kind.Name, api: kind.ReferrersAPI, registry: testenv.Start(t, kind.New), steps: map[faultStep]bool{}, sample: &sync.Once{}}
		k.good, k.bad = w.signed(t, k, "good", w.signer), w.signed(t, k, "bad", w.stranger)
		w.kinds = append(w.kinds, k)
	}
	return w
}

// verifyRepository has the images that are verified.
const verifyRepository = "verified"

func (w *faultWorld) signed(t *testing.T, k faultKind, tag string, by *pki.Certificate) ocispec.Descriptor {
	t.Helper()
	image, err := k.registry.PushImage(t.Context(), verifyRepository, tag)
	if err != nil {
		t.Fatal(err)
	}
	runner := w.runner(t, k, by)
	r := runner.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": k.registry.Host + "/" + verifyRepository + "@" + image.Digest.String()})
	if r.code != 0 {
		t.Fatalf("sign on %s: exit code %d", k.name, r.code)
	}
	return image
}

// runner is one with directories of its own.
func (w *faultWorld) runner(t *testing.T, k faultKind, by *pki.Certificate) *runWorld {
	t.Helper()
	r := &runWorld{registry: k.registry, root: w.root, signer: by, plugin: softplugin.New(by), dir: t.TempDir()}
	r.env = r.environment()
	r.env["INPUT_REGISTRY_USERNAME"] = registryfaults.Username
	r.env["INPUT_REGISTRY_PASSWORD"] = registryfaults.Password
	return r
}

// faultCase is a fault at a step.
type faultCase struct {
	kind  faultKind
	step  faultStep
	fault registryfaults.Fault
	times int // 0: for ever
	// timeout is the input: short where it is waited for.
	timeout time.Duration
}

func (c faultCase) String() string {
	often := "once"
	if c.times == 0 {
		often = "for ever"
	}
	return fmt.Sprintf("%s/%s/%s/%s/%s", c.step.mode, c.kind.name, c.step.name, c.fault.Name, often)
}

func (c faultCase) inject(p *registryfaults.Proxy) {
	p.Inject(registryfaults.Rule{Class: c.step.class, Nth: c.step.nth, Times: c.times, Fault: c.fault})
}

func startFaults(t *testing.T, k faultKind) *registryfaults.Proxy {
	t.Helper()
	return testenv.Start(t, func() (*registryfaults.Proxy, error) { return registryfaults.New(k.registry.Host) })
}

// signing signs an image that has an SBOM, with a fault, and then once more without
// one. It returns whether the first run went well.
func (w *faultWorld) signing(t *testing.T, c faultCase, repository string) (well bool) {
	subject := newFaultSubject(t, c.kind, repository)
	inputs := map[string]string{"INPUT_MODE": "sign"}
	proxy, runner, r := w.meet(t, c, inputs, repository+":v1")
	checkSecrets(t, proxy, r)
	listed := subject.checkListing(t)
	switch r.code {
	case exitSuccess:
		signed := digest.Digest(r.artifact.Signed.Digest)
		if !slices.Equal(listed, []digest.Digest{signed}) || !strings.Contains(r.outputs, signed.String()) {
			t.Errorf("%s is said to be signed, and %v is listed", signed, listed)
		}
		w.checkVerifies(t, subject)
		return true
	case exitFailure:
		c.checkExplained(t, proxy, r)
	default:
		t.Fatalf("exit code %d", r.code)
	}

	proxy.Heal()
	inputs["INPUT_TIMEOUT"], runner.listingLimit = "2m", 0
	again := runner.run(t, inputs)
	if again.code != exitSuccess || again.artifact.Signed == nil {
		t.Fatalf("the next run: exit code %d: %s", again.code, again.artifact.Error)
	}
	checkSecrets(t, proxy, again)
	want := storedSignatures(proxy)
	if listed := subject.checkListing(t); !slices.Equal(listed, want) || !slices.Contains(want, digest.Digest(again.artifact.Signed.Digest)) {
		t.Errorf("after the next run %v are listed, and stored are %v", listed, want)
	}
	if notes, _ := os.ReadDir(runner.path("cache/begun")); len(notes) > 0 {
		t.Errorf("%d notes are left", len(notes))
	}
	w.checkVerifies(t, subject)
	return false
}

// meet does a run that meets a fault. On a busy machine the run can take so long
// that its timeout comes before the fault; then it is done with a longer one.
func (w *faultWorld) meet(t *testing.T, c faultCase, inputs map[string]string, reference string) (*registryfaults.Proxy, *runWorld, ran) {
	for {
		proxy := startFaults(t, c.kind)
		c.inject(proxy)
		runner := w.runner(t, c.kind, w.signer)
		if c.times == 0 { // what never ends need not be tried for a minute
			runner.listingLimit = 5 * time.Second
		}
		inputs["INPUT_TARGET_ARTIFACT_REFERENCE"] = proxy.Host + "/" + reference
		inputs["INPUT_TIMEOUT"] = c.timeout.String()
		start := time.Now()
		r := runner.run(t, inputs)
		took := time.Since(start)
		if !slices.ContainsFunc(proxy.Requests(), func(r registryfaults.Request) bool { return r.Fault == c.fault.Name }) {
			if took < c.timeout {
				t.Fatalf("the fault did not happen: %v", proxy.Requests())
			}
			c.timeout *= 4
			continue
		}
		if most := c.timeout + publish.Grace + time.Minute; took > most && c.step.name != lastLook {
			t.Errorf("it took %v, with a timeout of %v", took, c.timeout)
		}
		return proxy, runner, r
	}
}

// verifying verifies two images with a fault: one that is signed well, and one that
// a stranger signed. It returns whether the first verified.
func (w *faultWorld) verifying(t *testing.T, c faultCase) (well bool) {
	for _, image := range []ocispec.Descriptor{c.kind.bad, c.kind.good} {
		proxy, _, r := w.meet(t, c, map[string]string{"INPUT_MODE": "verify"}, verifyRepository+"@"+image.Digest.String())
		checkSecrets(t, proxy, r)
		for _, request := range proxy.Requests() {
			if request.Method != http.MethodGet && request.Method != http.MethodHead {
				t.Errorf("verifying sent %s %s", request.Method, request.Path)
			}
		}
		verified := r.artifact.Verification != nil && r.artifact.Verification.Verdict == report.Verified
		if well = r.code == exitSuccess; well != verified || well != strings.Contains(r.outputs, "\ntrue\n") {
			t.Errorf("exit code %d, verified %v, outputs %q", r.code, verified, r.outputs)
		}
		switch isBad := image.Digest == c.kind.bad.Digest; {
		case isBad && well:
			t.Error("what a stranger signed is verified")
		case !isBad && !well:
			c.checkExplained(t, proxy, r)
		}
	}
	return well
}

// faultWords are what the error of a run says that a fault made fail, by the fault's
// name or its status: what to do, or what is wrong with the answer.
var faultWords = map[string]string{
	"401": `have the right to (read it|push)`,
	"403": `have the right to (read it|push)`,
	"404": `not found; check the repository|` + signIt,
	"400": `is immutable`,
	"409": `another client changes the same thing; run again|is immutable`,
	"412": `is immutable`,
	"413": `too large for the registry, or for a gateway in front of it; raise its limit`,
	"429": `the registry got too many requests; run again later`,
	"500": `the registry reports an error of its own; run again later`,
	"502": `the registry reports an error of its own; run again later`,
	"503": `the registry reports an error of its own; run again later`,
	"504": `the registry reports an error of its own; run again later`,

	"reset before":   noGoodAnswer,
	"reset after":    noGoodAnswer,
	"closed before":  noGoodAnswer,
	"closed after":   noGoodAnswer,
	"hang before":    `took longer than the timeout of .*; raise it, or run again|` + noGoodAnswer,
	"hang after":     `took longer than the timeout of .*; raise it, or run again|` + noGoodAnswer,
	"endless drip":   `took longer than the timeout of .*; raise it, or run again|` + noGoodAnswer,
	"half an answer": noGoodAnswer + `|unexpected EOF`,
	"flood":          `more than 4194304 bytes|failed to decode response: EOF|trailing data|sent something else`,
	"huge headers":   noGoodAnswer + `.* headers exceeded`,

	"altered":      `doesn't list a signature that it took|sent something else|mismatched digest|the registry answered 40[13]|not found; check the repository`,
	"longer":       `sent something else|mismatch`,
	"wrong digest": `sent something else|mismatch`,
	"wrong type":   `calls it|is called|move that away|mismatch|` + signIt,
	"no type":      `Content-Type|` + signIt,
	"empty list":   `doesn't list a signature that it took|` + signIt,
	"empty answer": `the answer is not that of a registry; check the address|failed to decode response: EOF|Content-(Type|Length)|` + signIt,
	"garbage":      `unexpected (EOF|end of JSON input)|mismatch Content-Length`,
	"empty JSON":   `empty token|is no manifest|move that away|mismatch Content-Length|doesn't list a signature that it took|` + signIt,

	"redirect elsewhere": `have the right to (read it|push)`,
	"redirect loop":      noGoodAnswer + `.* stopped after 10 redirects`,
	"upload elsewhere":   `is on a different host than the registry`,
	"a careless writer":  `other clients keep removing it`,
}

const (
	noGoodAnswer = `the registry gave no usable answer; check the address and the network, then run again`
	signIt       = `sign it, or, if it is signed|sign the artifact itself`
)

// checkExplained checks that the error of a run that failed names the registry and
// the status, and has the fault's words.
func (c faultCase) checkExplained(t *testing.T, proxy *registryfaults.Proxy, r ran) {
	t.Helper()
	text := r.artifact.Error
	if v := r.artifact.Verification; v != nil {
		for _, signature := range v.Signatures {
			for _, check := range signature.Checks {
				text += check.Remedy
			}
		}
	}
	words, ok := faultWords[c.fault.Name]
	if !ok {
		words, ok = faultWords[strconv.Itoa(c.fault.Status)]
	}
	if r.artifact.Succeeded || !strings.Contains(r.artifact.Reference+text, proxy.Host) || !ok || !regexp.MustCompile(words).MatchString(text) {
		t.Errorf("unexplained: %q", text)
	}
	if c.fault.Status >= 400 && !strings.Contains(text, strconv.Itoa(c.fault.Status)) && !strings.Contains(text, "not found") && !strings.Contains(text, "no signature") {
		t.Errorf("the status is not in %q", text)
	}
	if strings.Contains(r.outputs, "signature_digests<<"+delimiter+"\nsha256:") {
		t.Errorf("a signature is in the outputs of a run that failed: %q", r.outputs)
	}
}

// checkSecrets checks that the password and the tokens went to the registry alone.
func checkSecrets(t *testing.T, proxy *registryfaults.Proxy, r ran) {
	t.Helper()
	told, err := json.Marshal(r.report)
	if err != nil {
		t.Fatal(err)
	}
	log := strings.ReplaceAll(r.log, "::add-mask::"+registryfaults.Password, "")
	places := append(proxy.Elsewhere(), log, r.outputs, r.summary, string(told))
	for _, secret := range proxy.Secrets() {
		for _, place := range places {
			if strings.Contains(place, secret) {
				t.Errorf("the secret %s is in %q", secret, place)
			}
		}
	}
	for _, request := range proxy.Elsewhere() {
		if strings.Contains(request, "\nAuthorization:") {
			t.Errorf("the other host got %q", request)
		}
	}
}

// TestRegistryFaults has everything happen to every request of a run, and compares
// how that ends with docs/registry-faults.md. SOAK=1 tries all of it; with -update
// too it writes the page:
//
//	SOAK=1 go test ./action -run TestRegistryFaults -timeout 30m -update
func TestRegistryFaults(t *testing.T) {
	testenv.Long(t, "signs and verifies with each fault of a registry")
	t.Parallel() // most of it is waiting
	w := newFaultWorld(t)
	w.findSteps(t)
	whole, cases := w.plan()
	if testenv.Soak() {
		cases = whole
	}
	page := readFaultPage(t)
	var held atomic.Int64
	var all sync.WaitGroup
	slots := make(chan struct{}, 48) // most of them wait
	for i, c := range cases {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			well := false
			if testenv.Holds(t, c.String(), func(t *testing.T) {
				if c.step.mode == modeSign {
					well = w.signing(t, c, fmt.Sprintf("case-%d", i))
				} else {
					well = w.verifying(t, c)
				}
			}) {
				held.Add(1)
				page.note(t, c, well)
			}
		})
	}
	all.Wait()
	testenv.Tally(t, testenv.RegistryFaults, len(cases), int(held.Load()))
	if !t.Failed() {
		page.compare(t, len(whole), int(held.Load()))
	}
}
