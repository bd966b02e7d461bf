// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/notaryproject/notation-core-go/signature/cose"
	"github.com/notaryproject/notation-core-go/signature/jws"
	"oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
)

// valid is the least that a run needs.
var valid = map[string]string{"target_artifact_reference": "ghcr.io/me/app:v1", "key_id": "pkcs11:object=signing"}

func parse(values map[string]string) (inputs, error) {
	all := maps.Clone(valid)
	maps.Copy(all, values)
	return parseInputs(func(i input) string { return all[i.name] })
}

func TestDefaults(t *testing.T) {
	in, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if in.mode != modeSignAndVerify || in.pluginName != "pkcs11" || in.envelopeType != cose.MediaTypeEnvelope ||
		in.maxSignatures != 100 || in.referrersTag != "auto" || in.concurrency != 24 || in.timeout != 5*time.Minute || in.warnWithin != 720*time.Hour || in.renewWithin != 0 || in.recursive || in.skipSigned {
		t.Errorf("%+v", in)
	}
}

func TestValues(t *testing.T) {
	in, err := parse(map[string]string{
		"target_artifact_reference": "\n  ghcr.io/me/app:v1 \r\n\n ghcr.io/me/app:v2\n",
		"signature_format":          " jws ",
		"plugin_config":             "a=1\nb = x=y \n",
		"user_metadata":             "commit=abc",
		"expiry":                    "24h",
		"recursive":                 "True",
		"trusted_identities":        "x509.subject: C=DE, ST=Berlin, O=acme\nx509.subject: C=DE, ST=Bayern, O=acme",
		"insecure_registries":       "registry.internal:5000",
		"pin":                       "\tuser:password \n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(in.targets, " ") != "ghcr.io/me/app:v1 ghcr.io/me/app:v2" {
		t.Errorf("targets %q", in.targets)
	}
	if !maps.Equal(in.pluginConfig, map[string]string{"a": "1", "b": "x=y"}) {
		t.Errorf("plugin config %q", in.pluginConfig)
	}
	if in.envelopeType != jws.MediaTypeEnvelope || in.expiry != 24*time.Hour || !in.recursive || len(in.trustedIdentities) != 2 {
		t.Errorf("%+v", in)
	}
	if got := in.pin.Reveal(); got != "\tuser:password " {
		t.Errorf("PIN %q: white space of a PIN may be meant, the end of its line is not", got)
	}
}

// wrongValues are refused, by the names of their inputs.
var wrongValues = map[string][]string{
	"mode":                      {"Sign", "attest"},
	"target_artifact_reference": {"app:v1", "ghcr.io/me/app", "ghcr.io/ME/app:v1", "https://ghcr.io/me/app:v1", "oci://ghcr.io/me/app:v1", "ghcr\u202e.io/me/app:v1", "me@ghcr.io/me/app:v1", "\xff/app:v1", "ghcr.io:x/app:v1"},
	"recursive":                 {"yes", "1"},
	"plugin_name":               {"../evil", "a/b", ".", "-x"},
	"plugin_url":                {"http://example.com/plugin", "ftp://example.com/plugin", "plugin.tar.gz", "http://127.0.0.1.example.com/x"},
	"plugin_checksum":           {"abc", strings.Repeat("g", 64)},
	"plugin_config":             {"timeout", "=x", "a=1\na=2"},
	"signature_format":          {"COSE", "x509"},
	"user_metadata":             {"io.cncf.notary.x=1", "commit"},
	"expiry":                    {"0s", "-1h", "1500ms", "tomorrow"},
	"skip_signed":               {"maybe"},
	"renew_within":              {"0", "month"},
	"warn_within":               {"-1h", "1500ms", "30 days"},
	"verification_level":        {"skip", "Strict"},
	"max_signatures":            {"0", "-1", "many", "1e9"},
	"token_servers":             {"https://auth.example.net", "auth/token"},
	"insecure_registries":       {"http://registry", "registry/path", "user@registry", "registry:port", "r\u0435gistry"},
	"force_referrers_tag":       {"never"},
	"concurrency":               {"0", "1000"},
	"timeout":                   {"0s", "5", "48h"},
}

// contradictions are inputs that don't go together, with what is said of them.
var contradictions = []struct {
	inputs map[string]string
	says   string
}{
	{map[string]string{"target_artifact_reference": ""}, "target_artifact_reference is missing"},
	{map[string]string{"key_id": ""}, "no key"},
	{map[string]string{"key_name": "release"}, "key_id and key_name"},
	{map[string]string{"key_id": "", "key_name": "release", "plugin_name": "azure-kv"}, "key_name and plugin_name"},
	{map[string]string{"plugin_name": "azure-kv", "pin": "1234"}, "pin, module and cert_chain"},
	{map[string]string{"module": "a.so", "plugin_config": "module=b.so"}, "module is set twice"},
	{map[string]string{"cert_chain": "a.pem", "plugin_config": "cert_chain=b.pem"}, "cert_chain is set twice"},
	{map[string]string{"plugin_name": "azure-kv", "audit_log": "audit.log"}, "remove it, or use that plugin"},
	{map[string]string{"audit_log": "a.log", "plugin_config": "audit_log=b.log"}, "audit_log is set twice"},
	{map[string]string{"pin": "1234", "plugin_config": "pin_source=env:PIN"}, "pin_source"},
	{map[string]string{"plugin_name": "azure-kv", "plugin_url": "https://example.com/plugin"}, "plugin_checksum"},
	{map[string]string{"plugin_url": "https://example.com/plugin", "plugin_checksum": strings.Repeat("a", 64)}, "pkcs11 is built in"},
	{map[string]string{"timestamp_url": "http://tsa.example.com"}, "timestamp_root_cert"},
	{map[string]string{"timestamp_root_cert": "tsa.pem", "mode": "sign"}, "timestamp_url"},
	{map[string]string{"renew_within": "24h"}, "skip_signed is not"},
	{map[string]string{"skip_signed": "true", "renew_within": "24h", "expiry": "24h"}, "renew_within"},
	{map[string]string{"registry_username": "me"}, "registry_password"},
}

func TestVerifyingTakesNoKey(t *testing.T) {
	if _, err := parse(map[string]string{"mode": "verify", "key_id": ""}); err != nil {
		t.Errorf("to verify takes no key: %v", err)
	}
}

// A wrong value may be a secret in the wrong place.
func TestErrorsShowNoSecret(t *testing.T) {
	_, err := parse(map[string]string{"pin": "hush-1", "plugin_config": "hush-2", "registry_password": "hush-3", "mode": "x"})
	if err == nil || strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}

func TestEachInputIsDescribedOnce(t *testing.T) {
	names := map[string]bool{}
	for _, i := range inputTable {
		if names[i.name] || i.section == "" || !strings.HasSuffix(i.text, ".") || strings.ContainsAny(i.text, "\n|") || i.set == nil {
			t.Errorf("%+v", i)
		}
		names[i.name] = true
	}
	if len(names) < 30 {
		t.Errorf("only %d inputs", len(names))
	}
}

// FuzzInputs holds that what is accepted is within the bounds that the reference
// documents, and that a refusal names an input or a rule, can be shown, and holds
// no secret. A NUL stands between the inputs.
func FuzzInputs(f *testing.F) {
	for name, values := range wrongValues {
		for _, value := range values {
			f.Add(name + "=" + value)
		}
	}
	for _, seed := range []string{
		"", "target_artifact_reference=\n  ghcr.io/me/app:v1 \r\n\n localhost:5000/a@sha256:" + strings.Repeat("a", 64), "signature_format= jws \x00expiry=24h\x00recursive=True",
		"mode=verify\x00key_id= \x00trusted_identities=x509.subject: C=DE\nb", "plugin_config=a=1\nb = x=y \x00user_metadata=commit=abc", "key_id=\x00key_name=release",
		"plugin_name=a\x00plugin_url=https://example.com/p\x00plugin_checksum=" + strings.Repeat("A", 64), "pin=\n\x00registry_username=me\x00registry_password=hush",
		"target_artifact_reference=ghcr.io/me/" + strings.Repeat("\xe9", 3000),
		"insecure_registries=a:1\n[::1]:5000\x00max_signatures=+5\x00concurrency=0x10\x00timeout=1h0.0m",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values := map[string]string{}
		for field := range strings.SplitSeq(text, "\x00") {
			name, value, _ := strings.Cut(field, "=")
			values[name] = value
		}
		const hush = "hush-471147"
		for _, name := range []string{"pin", "registry_password"} {
			if values[name] != "" {
				values[name] += hush
			}
		}
		in, err := parse(values)
		if err != nil {
			checkRefusal(t, err)
			if strings.Contains(err.Error(), hush) {
				t.Errorf("a secret is in the error: %v", err)
			}
			return
		}
		again, err := parse(values)
		if err != nil || !reflect.DeepEqual(in, again) {
			t.Fatalf("%+v, and then %+v, %v", in, again, err)
		}
		for _, target := range in.targets {
			ref, err := registry.ParseReference(target)
			if err != nil || ref.Reference == "" || ref.Registry == "" || ref.Repository == "" {
				t.Errorf("target %q, %v", target, err)
			}
		}
		for name, wrong := range map[string]bool{
			"mode":                in.mode != modeSign && in.mode != modeVerify && in.mode != modeSignAndVerify && in.mode != modeInspect,
			"targets":             len(in.targets) == 0,
			"key":                 in.mode.signs() && in.keyID == "" && in.keyName == "" || in.keyID != "" && in.keyName != "",
			"plugin_name":         !filepath.IsLocal(in.pluginName) || strings.ContainsAny(in.pluginName, `/\`),
			"plugin_url":          in.pluginURL != "" && (sign.CheckPluginURL(in.pluginURL) != nil || len(in.pluginChecksum) != 64 || in.pluginName == builtInPlugin),
			"signature_format":    in.envelopeType != cose.MediaTypeEnvelope && in.envelopeType != jws.MediaTypeEnvelope,
			"expiry":              in.expiry < 0 || in.expiry%time.Second != 0,
			"renew_within":        in.mode.signs() && in.renewWithin > 0 && (!in.skipSigned || in.expiry > 0 && in.expiry <= in.renewWithin),
			"warn_within":         in.warnWithin < 0 || in.warnWithin%time.Second != 0,
			"verification_level":  !slices.Contains([]string{"", "strict", "permissive", "audit"}, in.verificationLevel),
			"max_signatures":      in.maxSignatures < 1 || in.maxSignatures > 10_000,
			"concurrency":         in.concurrency < 1 || in.concurrency > 256,
			"timeout":             in.timeout < time.Second || in.timeout > 24*time.Hour,
			"force_referrers_tag": !slices.Contains([]string{"auto", "true", "false"}, in.referrersTag),
			"registry_username":   (in.registryUsername == "") != in.registryPassword.Empty(),
		} {
			if wrong {
				t.Errorf("%s is accepted: %+v", name, in)
			}
		}
		for key := range in.userMetadata {
			if key == "" || strings.HasPrefix(key, reservedMetadata) || strings.ContainsAny(key, "=\n") {
				t.Errorf("user metadata %q", key)
			}
		}
		if shown := fmt.Sprintf("%v %+v %#v", in, in, in); strings.Contains(shown, hush) {
			t.Errorf("a secret shows in %s", shown)
		}
	})
}

// checkRefusal checks that each line of an error is about an input, and shows
// nothing that acts.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		word, _, _ := strings.Cut(line, ":")
		known := slices.ContainsFunc(inputTable, func(i input) bool { return i.name == word })
		for _, rule := range inputRules {
			known = known || line == rule.text
		}
		if !known || len(line) > 2000 || strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("the error is %q", line)
		}
	}
}

// --help names what each flag takes, and other inputs by their flags.
func TestHelpSpeaksOfFlags(t *testing.T) {
	for _, i := range inputTable {
		if (i.value == "") != i.isBoolean() {
			t.Errorf("the flag --%s has the placeholder %q", i.flag(), i.value)
		}
		for word := range strings.FieldsFuncSeq(i.usage(), func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }) {
			if strings.Contains(word, "_") && slices.ContainsFunc(inputTable, func(other input) bool { return other.name == word }) {
				t.Errorf("the help of --%s names the input %s", i.flag(), word)
			}
		}
	}
}
