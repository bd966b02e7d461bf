// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// What a run signs on any registry, notation verifies and lists.
func TestSignAndVerifyOnEachKindOfRegistry(t *testing.T) {
	notation := testenv.Start(t, testenv.NewNotation)
	for _, kind := range testenv.RegistryKinds {
		t.Run(kind.Name, func(t *testing.T) {
			w := newWorld(t, testenv.RSA3072, kind.New)
			if err := notation.Trust(w.pki.Root); err != nil {
				t.Fatal(err)
			}
			images := w.push(t, "app", 3)
			for i, format := range []string{"cose", "jws"} {
				o := w.run(t, images, map[string]string{"signature_format": format})
				if n := o.report.Count(); o.code != 0 || n.Signed != 3 || n.Verified != 3 {
					t.Fatalf("exit code %d, %+v", o.code, n)
				}
				for j, image := range images {
					signed := o.report.Artifacts[j].Signed
					if (signed.IndexTag == "") != kind.ReferrersAPI {
						t.Errorf("index tag %q", signed.IndexTag)
					}
					verified, err := notation.Run(t.Context(), nil, "verify", image)
					if err != nil || verified.ExitCode != 0 {
						t.Fatalf("notation verify: %v\n%s", err, verified.Stderr)
					}
					listed, err := notation.Run(t.Context(), nil, "list", image)
					if err != nil || strings.Count(listed.Stdout, "sha256:") != i+2 || !strings.Contains(listed.Stdout, signed.Digest) {
						t.Errorf("notation list: %v\n%s", err, listed.Stdout)
					}
				}
			}
		})
	}
}

func TestModes(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	images := w.push(t, "app", 2)
	for _, step := range []struct {
		mode     string
		code     int
		verified string
		want     func(report.Artifact) bool
	}{
		{"inspect", 0, "", func(a report.Artifact) bool { return len(a.Inspection.Signatures) == 0 }},
		{"verify", 1, "false", func(a report.Artifact) bool { return a.Verification.Verdict == report.Failed && a.Signed == nil }},
		{"sign", 0, "", func(a report.Artifact) bool { return a.Signed != nil && a.Verification == nil }},
		{"verify", 0, "true", func(a report.Artifact) bool { return a.Verification.Verdict == report.Verified && a.Signed == nil }},
		{"sign-and-verify", 0, "true", func(a report.Artifact) bool { return a.Signed != nil && len(a.Verification.Signatures) == 2 }},
		{"inspect", 0, "", func(a report.Artifact) bool { return len(a.Inspection.Signatures) == 2 && a.Verification == nil }},
	} {
		o := w.run(t, images, map[string]string{"mode": step.mode})
		if o.code != step.code {
			t.Fatalf("%s: exit code %d", step.mode, o.code)
		}
		if want := "verified<<_GitHubActionsFileCommandDelimeter_\n" + step.verified + "\n"; !strings.Contains(o.outputs, want) {
			t.Errorf("%s: outputs lack %q:\n%s", step.mode, want, o.outputs)
		}
		for _, a := range o.report.Artifacts {
			if !step.want(a) {
				t.Errorf("%s: %+v", step.mode, a)
			}
		}
	}
}

// One artifact that fails hides no other, before or behind it.
func TestEveryArtifactIsTried(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewTagSchemaRegistry)
	images := w.push(t, "app", 2)
	missing := w.registry.Host + "/app:missing"
	elsewhere := "localhost:1/app@sha256:" + strings.Repeat("0", 64)
	o := w.run(t, []string{missing, images[0], elsewhere, images[1]}, nil)
	if n := o.report.Count(); o.code != 1 || n.Failed != 2 || n.Signed != 2 || n.Verified != 2 {
		t.Fatalf("exit code %d, %+v", o.code, n)
	}
	for _, name := range []string{missing, elsewhere} {
		if !strings.Contains(o.stdout, "::error title="+strings.ReplaceAll(name, ":", "%3A")) {
			t.Errorf("no annotation for %s", name)
		}
	}
}

// Wrong inputs end with the exit code 2, all of them named, and nothing has
// happened to the token or the registry.
func TestWrongInputsTouchNothing(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	image := w.push(t, "app", 1)
	module, err := faults.New(t.TempDir(), w.hsm.Module)
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, module.Env()...)
	w.inputs["module"] = module.Path
	open := filepath.Join(t.TempDir(), "module.so")
	if err := errors.Join(os.WriteFile(open, nil, 0o644), os.Chmod(filepath.Dir(open), 0o777)); err != nil {
		t.Fatal(err)
	}
	before := len(w.registry.Requests())
	for _, wrong := range []struct {
		name    string
		targets []string
		inputs  map[string]string
		says    []string
	}{
		{"nothing to do", nil, nil, []string{"target_artifact_reference"}},
		{"no digest or tag", []string{w.registry.Host + "/app"}, nil, []string{"neither a digest nor a tag"}},
		{"several at once", image, map[string]string{"mode": "singing", "concurrency": "0"}, []string{"mode:", "concurrency:"}},
		{"malformed key", image, map[string]string{"key_id": "pkcs11:label=release"}, []string{"label"}},
		{"no such module", image, map[string]string{"module": "/absent.so"}, []string{"/absent.so", "no such file"}},
		{"a module that others can replace", image, map[string]string{"module": open}, []string{"chmod o-w '" + filepath.Dir(open) + "'"}},
		{"two PINs", image, map[string]string{"plugin_config": "pin_source=env:X"}, []string{"pin_source"}},
		{"a PIN and a source in the key URI", image, map[string]string{"key_id": "pkcs11:object=signing?pin-source=env:X"}, []string{"the input pin is set", "pin-source in the key URI"}},
		{"unknown setting", image, map[string]string{"plugin_config": "speed=high"}, []string{`"speed"`}},
		{"no trust", image, map[string]string{"trusted_certificates": "", "trusted_identities": ""}, []string{"nothing to verify against"}},
		{"no such certificate", image, map[string]string{"trusted_certificates": "nothing.pem"}, []string{"nothing.pem"}},
		{"policy of no use", image, map[string]string{"trusted_certificates": "", "trusted_identities": "", "trust_policy": "{}"}, []string{"trust_policy"}},
		{"half a timestamp", image, map[string]string{"timestamp_url": "http://localhost:1"}, []string{"timestamp_root_cert"}},
		{"unknown plugin", image, map[string]string{"plugin_name": "nothing", "pin": "", "module": ""}, []string{`"nothing"`}},
		{"unknown key", image, map[string]string{"key_id": "", "key_name": "nothing"}, []string{"signingkeys.json"}},
		{"report in no folder", image, map[string]string{"report": "no/such/folder/report.json"}, []string{"report:"}},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			o := w.run(t, wrong.targets, wrong.inputs)
			if o.code != 2 {
				t.Fatalf("exit code %d", o.code)
			}
			for _, text := range wrong.says {
				if !strings.Contains(o.stdout, text) {
					t.Errorf("it does not say %q:\n%s", text, o.stdout)
				}
			}
		})
	}
	if after := len(w.registry.Requests()); after != before {
		t.Errorf("%d requests were sent", after-before)
	}
	if n := module.Calls("load"); n != 0 {
		t.Errorf("the module was loaded %d times", n)
	}
}

// The token is opened once for a run, whatever there is to sign.
func TestOneLoginForAllArtifacts(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	module, err := faults.New(t.TempDir(), w.hsm.Module)
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, module.Env()...)
	w.inputs["module"] = module.Path
	o := w.run(t, w.push(t, "app", 12), map[string]string{"mode": "sign"})
	if n := o.report.Count(); o.code != 0 || n.Signed != 12 {
		t.Fatalf("exit code %d, %+v", o.code, n)
	}
	for _, function := range []string{"C_Initialize", "C_Login", "C_Finalize"} {
		if n := module.Calls(function); n != 1 {
			t.Errorf("%d calls of %s", n, function)
		}
	}
}

// Some tokens lock after three wrong PINs, so a run tries one once. It is that of the
// input pin, whatever the environment has.
func TestWrongPINIsTriedOnce(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	module, err := faults.New(t.TempDir(), w.hsm.Module, "hide-before-login")
	if err != nil {
		t.Fatal(err)
	}
	right := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(right, []byte(w.token.PIN), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = append(append(w.env, module.Env()...), "NOTATION_PKCS11_PIN_SOURCE=file:"+right)
	w.inputs["module"], w.inputs["pin"] = module.Path, "wrong-pin-7715"
	o := w.run(t, w.push(t, "app", 6), nil)
	if n := o.report.Count(); o.code != 1 || n.Failed != 6 {
		t.Fatalf("exit code %d, %+v", o.code, n)
	}
	if n := module.Calls("C_Login"); n != 1 {
		t.Errorf("%d calls of C_Login", n)
	}
	for _, a := range o.report.Artifacts {
		if !strings.Contains(a.Error, "CKR_PIN_INCORRECT") || !strings.Contains(a.Error, "the input pin") {
			t.Errorf("error %q", a.Error)
		}
	}
	if all := o.everything(w); strings.Count(all, "wrong-pin-7715") != strings.Count(all, "::add-mask::wrong-pin-7715") {
		t.Error("the PIN is shown")
	}
}

// A secret that a job can't see is empty, and nobody is at a runner's terminal.
func TestEmptyPINIsExplained(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	w.env = append(w.env, "CI=true")
	w.inputs["pin"] = ""
	o := w.run(t, w.push(t, "app", 1), nil)
	if o.code != 1 || !strings.Contains(o.report.Artifacts[0].Error, "the input pin is empty") {
		t.Errorf("exit code %d, %+v", o.code, o.report.Artifacts)
	}
}

// A vendor's library that takes its process down costs one replacement, and no
// signature.
func TestModuleHostThatDiesIsReplacedOnce(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	images := w.push(t, "app", 8)
	for _, crash := range []struct {
		at           string
		signed, code int
	}{
		{"C_Sign#7 crash", 8, 0},
		{"C_Sign#1 crash", 0, 1}, // the second process goes the same way
	} {
		module, err := faults.New(t.TempDir(), w.hsm.Module, crash.at)
		if err != nil {
			t.Fatal(err)
		}
		w.env = append(w.hsm.Env(), module.Env()...)
		w.inputs["module"] = module.Path
		o := w.run(t, images, map[string]string{"mode": "sign"})
		if n := o.report.Count(); o.code != crash.code || n.Signed != crash.signed {
			t.Errorf("%s: exit code %d, %+v", crash.at, o.code, n)
		}
		if n := module.Calls("load"); n != 2 {
			t.Errorf("%s: the module was loaded %d times", crash.at, n)
		}
	}
}

// A module that hangs costs the signature that it hangs in, and its process.
func TestModuleHostThatHangsIsReplaced(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	module, err := faults.New(t.TempDir(), w.hsm.Module, "C_Sign#4 hang")
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, module.Env()...)
	w.inputs["module"] = module.Path
	o := w.run(t, w.push(t, "app", 5), map[string]string{"mode": "sign", "plugin_config": "timeout=3s"})
	n := o.report.Count()
	if o.code != 1 || n.Signed != 4 || n.Failed != 1 {
		t.Fatalf("exit code %d, %+v", o.code, n)
	}
	for _, a := range o.report.Artifacts {
		if !a.Succeeded && !strings.Contains(a.Error, "TIMEOUT") {
			t.Errorf("error %q", a.Error)
		}
	}
}

// A secret is masked before anything else is printed, and shown to nobody.
func TestSecretsAreMaskedFirst(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	o := w.run(t, w.push(t, "app", 1), map[string]string{"registry_username": "me", "registry_password": testenv.RegistryPassword})
	if o.code != 0 {
		t.Fatalf("exit code %d", o.code)
	}
	masks := "::add-mask::" + w.token.PIN + "\n::add-mask::" + testenv.RegistryPassword + "\n"
	rest, first := strings.CutPrefix(o.stdout, masks)
	if !first {
		t.Fatalf("the log begins with %.100q", o.stdout)
	}
	o.stdout = rest
	for _, secret := range []string{w.token.PIN, testenv.RegistryPassword} {
		if strings.Contains(o.everything(w), secret) {
			t.Errorf("%s is shown", secret)
		}
	}
}

func TestSkipSigned(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewTagSchemaRegistry)
	images := w.push(t, "app", 3)
	sign := func(targets []string, inputs map[string]string) report.Count {
		t.Helper()
		inputs["mode"], inputs["skip_signed"] = "sign", "true"
		o := w.run(t, targets, inputs)
		if o.code != 0 {
			t.Fatalf("exit code %d", o.code)
		}
		return o.report.Count()
	}
	metadata := map[string]string{"user_metadata": "commit=1"}
	for _, step := range []struct {
		name           string
		targets        []string
		inputs         map[string]string
		signed, before int
	}{
		{"nothing is signed", images[:2], map[string]string{}, 2, 0},
		{"two are", images, map[string]string{}, 1, 2},
		{"with other metadata", images, metadata, 3, 0},
		{"with the same metadata", images, metadata, 0, 3},
	} {
		if n := sign(step.targets, step.inputs); n.Signed != step.signed || n.AlreadySigned != step.before {
			t.Errorf("%s: %+v", step.name, n)
		}
	}
}

// An interrupted run says what it did not do.
func TestInterrupted(t *testing.T) {
	w := newWorld(t, testenv.EC256, testenv.NewRegistry)
	module, err := faults.New(t.TempDir(), w.hsm.Module, "C_Sign#2 delay 3000")
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, module.Env()...)
	w.inputs["module"] = module.Path
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := w.command(ctx, w.push(t, "app", 3), map[string]string{"mode": "sign", "concurrency": "1"})
	go func() {
		for module.Calls("C_Sign") < 2 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	o := w.finish(t, cmd)
	if n := o.report.Count(); o.code != 1 || n.Signed != 1 || n.Failed != 2 {
		t.Fatalf("exit code %d, %+v", o.code, n)
	}
	if last := o.report.Artifacts[2].Error; !strings.Contains(last, "interrupted") {
		t.Errorf("error %q", last)
	}
}
