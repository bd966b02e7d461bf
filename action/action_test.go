// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// runWorld is a runner with a registry and a signer.
type runWorld struct {
	registry *testenv.Registry
	root     *pki.Certificate
	signer   *pki.Certificate
	plugin   *softplugin.Plugin
	dir      string
	env      map[string]string
	builtIn  BuiltInOptions // of the last run

	notationDir  string        // empty: none
	listingLimit time.Duration // zero: the program's own
}

func newRunWorld(t *testing.T) *runWorld {
	t.Helper()
	w := &runWorld{registry: testenv.Start(t, testenv.NewRegistry), dir: t.TempDir()}
	w.root = pki.New(t, "acme root", nil, pki.AsAuthority)
	w.signer = pki.New(t, "release", w.root, pki.AsSigner)
	w.plugin = softplugin.New(w.signer)
	w.env = w.environment()
	return w
}

// environment is that of a step in a workflow.
func (w *runWorld) environment() map[string]string {
	return map[string]string{
		"GITHUB_ACTIONS":             "true",
		"GITHUB_OUTPUT":              w.path("output"),
		"GITHUB_STEP_SUMMARY":        w.path("summary"),
		"RUNNER_TEMP":                w.dir,
		"INPUT_REPORT":               w.path("report.json"),
		"INPUT_KEY_ID":               "soft",
		"INPUT_TRUSTED_CERTIFICATES": string(testenv.EncodePEM(w.root.Cert)),
		"INPUT_TRUSTED_IDENTITIES":   "*",
		"INPUT_WARN_WITHIN":          "0", // the signer's certificate ends tomorrow
	}
}

func (w *runWorld) path(name string) string { return filepath.Join(w.dir, name) }

func (w *runWorld) image(t *testing.T, repository, tag string) (reference string, image ocispec.Descriptor) {
	t.Helper()
	image, err := w.registry.PushImage(t.Context(), repository, tag)
	if err != nil {
		t.Fatal(err)
	}
	return w.registry.Host + "/" + repository + "@" + image.Digest.String(), image
}

// ran is what a run left behind.
type ran struct {
	code                  int
	log, outputs, summary string
	report                report.Report
	unset                 []string
	requests              []testenv.Request
	artifact              report.Artifact // the first
}

// run does a run with more inputs, given as their variables.
func (w *runWorld) run(t *testing.T, inputs map[string]string, args ...string) ran {
	t.Helper()
	env := maps.Clone(w.env)
	maps.Copy(env, inputs)
	for _, name := range []string{"output", "summary", "report.json"} {
		if err := os.RemoveAll(w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	var r ran
	a := Action{
		Version: "1.2.3",
		BuiltIn: func(o BuiltInOptions) BuiltIn {
			w.builtIn = o
			return w.plugin
		},
		Stdout:      &log,
		Stderr:      &log,
		Getenv:      func(name string) string { return env[name] },
		Unsetenv:    func(name string) error { r.unset = append(r.unset, name); return nil },
		NotationDir: cmp.Or(w.notationDir, w.path("notation")),
		CacheDir:    w.path("cache"),

		listingLimit: w.listingLimit,
	}
	before := len(w.registry.Requests())
	r.code = a.Main(t.Context(), args)
	r.requests = w.registry.Requests()[before:]
	r.log = log.String()
	read := func(name string) string {
		content, _ := os.ReadFile(w.path(name)) // what is not there is empty
		return string(content)
	}
	r.outputs, r.summary = read("output"), read("summary")
	if content := read("report.json"); content != "" {
		if err := json.Unmarshal([]byte(content), &r.report); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.report.Artifacts) > 0 {
		r.artifact = r.report.Artifacts[0]
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("exit code %d\n%s", r.code, r.log)
		}
	})
	return r
}

// A tag is resolved once, and the warning names the digest.
func TestTagIsResolvedOnce(t *testing.T) {
	w := newRunWorld(t)
	_, image := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app:v1"})
	if r.code != 0 || r.artifact.Digest != image.Digest.String() {
		t.Fatalf("exit code %d, %+v", r.code, r.artifact)
	}
	if len(r.artifact.Warnings) != 1 || !strings.Contains(r.artifact.Warnings[0], image.Digest.String()) {
		t.Errorf("warnings %q", r.artifact.Warnings)
	}
	byTag := 0
	for _, request := range r.requests {
		if strings.HasSuffix(request.Path, "/manifests/v1") {
			byTag++
		}
	}
	if byTag != 1 {
		t.Errorf("%d requests by tag: %v", byTag, r.requests)
	}
}

func TestSameArtifactIsTreatedOnce(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference + "\n" + w.registry.Host + "/app:v1"})
	if n := r.report.Count(); r.code != 0 || n.Artifacts != 1 || n.Signed != 1 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	if len(r.artifact.Warnings) != 1 || !strings.Contains(r.artifact.Warnings[0], "app:v1 is the same artifact") {
		t.Errorf("warnings %q", r.artifact.Warnings)
	}
}

// Recursive: the index, what is in it and what is in the indexes in it, each
// once; and one child without a good signature is a failure.
func TestRecursive(t *testing.T) {
	w := newRunWorld(t)
	_, amd64 := w.image(t, "app", "amd64")
	_, arm64 := w.image(t, "app", "arm64")
	index := func(tag string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
		t.Helper()
		index, err := w.registry.PushIndex(t.Context(), "app", tag, manifests...)
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	inner := index("inner", arm64, amd64)
	outer := index("outer", amd64, inner)
	targets := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": w.registry.Host + "/app@" + outer.Digest.String(), "INPUT_RECURSIVE": "true"}

	alone := maps.Clone(targets)
	alone["INPUT_RECURSIVE"], alone["INPUT_MODE"] = "false", "sign"
	if r := w.run(t, alone); r.code != 0 || r.report.Count().Signed != 1 {
		t.Fatalf("exit code %d, %+v", r.code, r.report.Count())
	}
	verify := maps.Clone(targets)
	verify["INPUT_MODE"] = "verify"
	if r := w.run(t, verify); r.code != 1 || r.report.Count().Verified != 1 || r.report.Count().Failed != 3 {
		t.Fatalf("children without signatures: exit code %d, %+v", r.code, r.report.Count())
	}
	r := w.run(t, targets)
	if n := r.report.Count(); r.code != 0 || n.Signed != 4 || n.Verified != 4 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	want := []digest.Digest{outer.Digest, amd64.Digest, inner.Digest, arm64.Digest}
	for i, a := range r.report.Artifacts {
		if a.Digest != want[i].String() {
			t.Errorf("artifact %d is %s, not %s", i, a.Digest, want[i])
		}
	}
}

// The plugin is asked what it and its key are once a run, not once a signature.
func TestPluginIsDescribedOnce(t *testing.T) {
	w := newRunWorld(t)
	var references []string
	for i := range 8 {
		reference, _ := w.image(t, "app", fmt.Sprint(i))
		references = append(references, reference)
	}
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": strings.Join(references, "\n"), "INPUT_MODE": "sign"})
	if r.code != 0 || r.report.Count().Signed != 8 {
		t.Fatalf("exit code %d", r.code)
	}
	if d, s, c := w.plugin.Described.Load(), w.plugin.Signed.Load(), w.plugin.Closed.Load(); d != 1 || s != 8 || c != 1 {
		t.Errorf("described %d times, signed %d times, closed %d times", d, s, c)
	}
	const shared = 3 // two requests for the config blob, and a look at the list
	if n := len(r.requests) - shared; n != 8*3 {
		t.Errorf("%d requests for 8 signatures: %v", n, r.requests)
	}
}

// variablePIN is where the built-in plugin reads a PIN that nothing else gives.
const variablePIN = "NOTATION_PKCS11_PIN"

// The PIN goes to the built-in plugin, and out of the process's environment.
func TestSecretsAreTakenOutOfTheEnvironment(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_PIN": " pin with blanks \n"})
	if pin := w.builtIn.PIN.Reveal(); r.code != 0 || pin != " pin with blanks " {
		t.Fatalf("exit code %d, PIN %q", r.code, pin)
	}
	if got := strings.Join(r.unset, " "); got != "INPUT_PIN INPUT_REGISTRY_PASSWORD INPUT_SOURCE_REGISTRY_PASSWORD" {
		t.Errorf("taken out: %s", got)
	}
}

// PINs in variables that the plugin names are held in memory: credential helpers
// get the environment.
func TestPINsInVariablesAreTakenOutOfTheEnvironment(t *testing.T) {
	for name, test := range map[string]struct {
		inputs map[string]string
		taken  string
	}{
		"the plugin's own":  {map[string]string{variablePIN: "hush-4711"}, variablePIN},
		"of the key":        {map[string]string{"INPUT_KEY_ID": "env:MY_PIN", "MY_PIN": "hush-4711"}, "MY_PIN"},
		"of its config":     {map[string]string{"INPUT_PLUGIN_CONFIG": "pin=env:MY_PIN", "MY_PIN": "hush-4711"}, "MY_PIN"},
		"the input instead": {map[string]string{variablePIN: "0815", "INPUT_PIN": "hush-4711"}, variablePIN},
	} {
		t.Run(name, func(t *testing.T) {
			w := newRunWorld(t)
			reference, _ := w.image(t, "app", "v1")
			w.plugin.Secrets = func(keyID string, config map[string]string) []string {
				return []string{variablePIN, strings.TrimPrefix(keyID, "env:"), strings.TrimPrefix(config["pin"], "env:")}
			}
			test.inputs["INPUT_TARGET_ARTIFACT_REFERENCE"] = reference
			r := w.run(t, test.inputs)
			if !slices.Contains(r.unset, test.taken) {
				t.Errorf("taken out: %v", r.unset)
			}
			if got := w.builtIn.Getenv(test.taken); got != test.inputs[test.taken] {
				t.Errorf("the plugin gets %q", got)
			}
			if strings.Contains(strings.ReplaceAll(r.log, "::add-mask::hush-4711", ""), "hush-4711") || !strings.Contains(r.log, "::add-mask::hush-4711") {
				t.Errorf("log %q", r.log)
			}
		})
	}
}

// The runner's signal goes to the step's shell, which must be the executable by
// then.
func TestStepIsReplacedByTheExecutable(t *testing.T) {
	if manifest := readDocument(t, "action.yml"); !strings.Contains(manifest, "\n      run: exec \"$EXECUTABLE\"\n") {
		t.Error("action.yml runs the executable as a child of the shell")
	}
}

// A flag wins over the environment.
func TestFlagsWinOverEnvironment(t *testing.T) {
	w := newRunWorld(t)
	first, _ := w.image(t, "app", "v1")
	second, _ := w.image(t, "app", "v2")
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": "nonsense", "INPUT_MODE": "verify"},
		"--mode=sign", "--target-artifact-reference", first, "--target-artifact-reference", second)
	if n := r.report.Count(); r.code != 0 || n.Signed != 2 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
}

func TestUnknownFlagIsAWrongInput(t *testing.T) {
	w := newRunWorld(t)
	if r := w.run(t, nil, "--nothing"); r.code != 2 || !strings.Contains(r.log, "--nothing") {
		t.Fatalf("exit code %d", r.code)
	}
}

// That somebody else's signature is why an artifact verifies is worth a warning,
// if ours does not.
func TestOwnSignatureThatIsNotTrustedIsAWarning(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	inputs := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference}
	if r := w.run(t, inputs); r.code != 0 {
		t.Fatalf("exit code %d", r.code)
	}
	w.plugin = softplugin.New(pki.New(t, "stranger", pki.New(t, "other root", nil, pki.AsAuthority), pki.AsSigner))
	r := w.run(t, inputs)
	if r.code != 0 || len(r.artifact.Warnings) != 1 || !strings.Contains(r.artifact.Warnings[0], "does not pass the trust policy") {
		t.Fatalf("exit code %d, warnings %q", r.code, r.artifact.Warnings)
	}
}

// A level of skip verifies nothing, and the output says so.
func TestSkipIsNotVerified(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{
		"INPUT_MODE": "verify", "INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_TRUSTED_CERTIFICATES": "", "INPUT_TRUSTED_IDENTITIES": "",
		"INPUT_TRUST_POLICY": `{"version": "1.0", "trustPolicies": [{"name": "none", "registryScopes": ["*"], "signatureVerification": {"level": "skip"}}]}`,
	})
	if r.code != 0 || r.artifact.Verification.Verdict != report.Skipped || !strings.Contains(r.outputs, "verified<<"+delimiter+"\nskipped\n") {
		t.Fatalf("exit code %d, %+v\n%s", r.code, r.artifact.Verification, r.outputs)
	}
}

// The job summary and the outputs are for people and later steps; that they
// can't be written is no reason to call signatures failed.
func TestWhatCannotBeWrittenIsAWarning(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"GITHUB_OUTPUT":                   w.path("no/such/folder/output"),
		"GITHUB_STEP_SUMMARY":             w.path("no/such/folder/summary"),
	})
	if r.code != 0 || r.report.Count().Signed != 1 {
		t.Fatalf("exit code %d", r.code)
	}
	for _, text := range []string{"the job summary can't be written", "the output digests can't be set"} {
		if !strings.Contains(r.log, "::warning title=notation-pkcs11-action::"+text) {
			t.Errorf("no warning %q", text)
		}
	}
}

// A registry that never answers costs its own artifact the timeout, no more.
func TestSilentRegistryEndsAtTheTimeout(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }))
	defer silent.Close()
	start := time.Now()
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": strings.TrimPrefix(silent.URL, "http://") + "/app:v1\n" + reference,
		"INPUT_TIMEOUT":                   "1s",
	})
	if n := r.report.Count(); r.code != 1 || n.Failed != 1 || n.Signed != 1 || n.Verified != 1 {
		t.Fatalf("exit code %d, %+v", r.code, n)
	}
	if !strings.Contains(r.artifact.Error, "longer than the timeout of 1s") {
		t.Errorf("error %q", r.artifact.Error)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// delimiter is what go-githubactions puts around values in the runner's files.
const delimiter = "_GitHubActionsFileCommandDelimeter_"

// forged is text that would do something in each place that it is shown in.
const forged = "no\n::add-mask::x\n::set-output name=verified::true\r\n##[error]boo\x1b[2J `| <b> \u202e" + delimiter

// checkNothingForged checks that such text did nothing.
func (r ran) checkNothingForged(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(r.log) {
		command, isCommand := strings.CutPrefix(strings.TrimSpace(line), "::")
		known := strings.HasPrefix(command, "group::") || strings.HasPrefix(command, "endgroup::") ||
			strings.HasPrefix(command, "error title=") || strings.HasPrefix(command, "warning title=")
		if isCommand && !known || strings.Contains(line, "##[") || strings.ContainsAny(line, "\x1b\r\u202e") {
			t.Errorf("line %q", line)
		}
	}
	_, table, _ := strings.Cut(r.summary, "| artifact |")
	table, diagram, _ := strings.Cut(table, "```mermaid")
	if strings.Contains(r.summary, "<b>") || strings.ContainsAny(r.summary, "\x1b\u202e") || strings.Contains(table, "`") || strings.Count(diagram, "`") > 3 {
		t.Errorf("summary %q", r.summary)
	}
	if strings.Count(r.outputs, delimiter) != 2*len(outputTable) || strings.Contains(r.outputs, "boo") {
		t.Errorf("outputs %q", r.outputs)
	}
}

func TestRegistryErrorsForgeNothing(t *testing.T) {
	w := newRunWorld(t)
	image := "sha256:" + strings.Repeat("0", 64)
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == http.MethodHead && strings.Contains(req.URL.Path, "/blobs/"):
			w.WriteHeader(http.StatusNotFound) // so that one is pushed
			return
		case req.Method == http.MethodHead: // has no body
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", image)
			w.Header().Set("Content-Length", "2")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": forged}}})
	}))
	defer hostile.Close()
	repository := strings.TrimPrefix(hostile.URL, "http://") + "/app"
	for _, mode := range []string{"inspect", "verify", "sign"} {
		r := w.run(t, map[string]string{
			"INPUT_TARGET_ARTIFACT_REFERENCE": repository + "@" + image, "INPUT_MODE": mode,
		})
		if r.code != 1 || !strings.Contains(r.log, "boo") {
			t.Fatalf("exit code %d", r.code)
		}
		r.checkNothingForged(t)
	}
}

func TestCertificatesAndMetadataForgeNothing(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	w.plugin = softplugin.New(pki.New(t, forged, w.root, pki.AsSigner))
	for _, inputs := range []map[string]string{
		{"INPUT_USER_METADATA": "::add-mask::a=`| <b>boo ##[error] \x1b[2J" + delimiter},
		{"INPUT_MODE": "verify"},
		{"INPUT_MODE": "verify", "INPUT_TRUSTED_IDENTITIES": "x509.subject: C=DE, ST=Berlin, O=nobody"},
		{"INPUT_MODE": "inspect"},
	} {
		inputs["INPUT_TARGET_ARTIFACT_REFERENCE"] = reference
		r := w.run(t, inputs)
		if len(r.report.Artifacts) != 1 || !strings.Contains(r.log, "boo") {
			t.Fatalf("exit code %d", r.code)
		}
		r.checkNothingForged(t)
	}
}
