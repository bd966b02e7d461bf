// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/notaryproject/tspclient-go"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/download"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/pki"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

func TestSignatureSaysWhatTheInputsSay(t *testing.T) {
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_USER_METADATA":             "commit=abc\nby=me",
		"INPUT_EXPIRY":                    "48h",
		"INPUT_SIGNATURE_FORMAT":          "jws",
	})
	if r.code != 0 {
		t.Fatalf("exit code %d", r.code)
	}
	s := r.artifact.Verification.Signatures[0]
	if s.Format != "jws" || !maps.Equal(s.UserMetadata, map[string]string{"commit": "abc", "by": "me"}) {
		t.Errorf("%+v", s)
	}
	if s.Expiry == nil || s.Expiry.Sub(*s.SigningTime) != 48*time.Hour {
		t.Errorf("signed %v, expires %v", s.SigningTime, s.Expiry)
	}
	signed := r.artifact.Signed
	want := map[string]string{
		"org.opencontainers.image.created":         s.SigningTime.Format(time.RFC3339),
		"io.cncf.notary.x509chain.thumbprint#S256": fmt.Sprintf("[%q,%q]", download.SHA256(w.signer.Cert.Raw), download.SHA256(w.root.Cert.Raw)),
	}
	if !maps.Equal(signed.Annotations, want) {
		t.Errorf("annotations %q", signed.Annotations)
	}
	if r.artifact.Size != image.Size || r.artifact.MediaType != image.MediaType {
		t.Errorf("%+v", r.artifact)
	}
	other := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_MODE": "verify", "INPUT_USER_METADATA": "commit=def"}
	if r := w.run(t, other); r.code != 1 || !strings.Contains(r.artifact.Error, "metadata") {
		t.Errorf("exit code %d, error %q", r.code, r.artifact.Error)
	}
}

// tsa is a timestamping authority that is busy at first, and says 201.
func tsa(t *testing.T, authority pki.TimestampAuthority, busy int) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if requests.Add(1) <= int64(busy) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var query tspclient.Request
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = query.UnmarshalBinary(body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		response, err := authority.Timestamp(req.Context(), &query)
		if err == nil {
			body, err = response.MarshalBinary()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", tspclient.MediaTypeTimestampReply)
		w.WriteHeader(http.StatusCreated)
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// An authority that is busy is asked again, and 201 is as good as 200.
func TestTimestamp(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	authority := pki.NewTimestampAuthority(t, "tsa", time.Now())
	url, requests := tsa(t, authority, 1)
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_TIMESTAMP_URL":             url,
		"INPUT_TIMESTAMP_ROOT_CERT":       string(testenv.EncodePEM(authority.Signer.Issuer.Cert)),
	})
	if r.code != 0 || requests.Load() != 2 {
		t.Fatalf("exit code %d after %d requests", r.code, requests.Load())
	}
	for _, stamp := range []any{r.artifact.Signed.Timestamp, r.artifact.Verification.Signatures[0].Timestamp} {
		text, err := json.Marshal(stamp)
		if err != nil || !strings.Contains(string(text), "CN=tsa") {
			t.Errorf("timestamp %s, %v", text, err)
		}
	}
}

func TestTimestampOfAnUntrustedAuthorityFails(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	url, _ := tsa(t, pki.NewTimestampAuthority(t, "tsa", time.Now()), 0)
	r := w.run(t, map[string]string{
		"INPUT_TARGET_ARTIFACT_REFERENCE": reference,
		"INPUT_TIMESTAMP_URL":             url,
		"INPUT_TIMESTAMP_ROOT_CERT":       string(testenv.EncodePEM(pki.NewTimestampAuthority(t, "other", time.Now()).Signer.Issuer.Cert)),
	})
	if r.code != 1 || r.artifact.Signed != nil || !strings.Contains(r.artifact.Error, "timestamp") {
		t.Fatalf("exit code %d, %+v", r.code, r.artifact)
	}
}

// putKeys writes notation's signingkeys.json.
func putKeys(t *testing.T, w *runWorld, keys ...map[string]any) {
	t.Helper()
	content, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	testenv.PutFile(t, w.path("notation/signingkeys.json"), string(content))
}

// A key of signingkeys.json signs: of files, or of a plugin with its config and
// what plugin_config adds to it.
func TestNamedKeys(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	keyFile := testenv.PutFile(t, w.path("release.key"), string(softplugin.KeyPEM(t, w.signer.Key)))
	certFile := testenv.PutFile(t, w.path("release.crt"), string(testenv.EncodePEM(w.signer.Chain()...)))
	putKeys(t, w,
		map[string]any{"name": "files", "keyPath": keyFile, "certPath": certFile},
		map[string]any{"name": "token", "id": "pkcs11:object=x", "pluginName": "pkcs11", "pluginConfig": map[string]string{"module": "a.so", "timeout": "1s"}},
	)
	var id string
	var config map[string]string
	w.plugin.Checked = func(keyID string, given map[string]string) error {
		id, config = keyID, given
		return nil
	}
	for _, name := range []string{"files", "token"} {
		r := w.run(t, map[string]string{
			"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_KEY_ID": "", "INPUT_KEY_NAME": name, "INPUT_PLUGIN_CONFIG": "timeout=9s",
		})
		if n := r.report.Count(); r.code != 0 || n.Signed != 1 || n.Verified != 1 {
			t.Errorf("%s: exit code %d, %+v", name, r.code, n)
		}
	}
	if id != "pkcs11:object=x" || !maps.Equal(config, map[string]string{"module": "a.so", "timeout": "9s"}) {
		t.Errorf("key id %q, plugin config %q", id, config)
	}
}

func TestNamedKeysThatAreNoGood(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	putKeys(t, w,
		map[string]any{"name": "empty"},
		map[string]any{"name": "gone", "keyPath": "no.key", "certPath": "no.crt"},
		map[string]any{"name": "source", "id": "x", "pluginName": "pkcs11", "pluginConfig": map[string]string{"pin_source": "env:X"}},
	)
	for name, says := range map[string]string{
		"empty": "neither files nor a plugin", "gone": "no.crt", "missing": `there are: "empty", "gone", "source"`, "source": "pin_source",
	} {
		r := w.run(t, map[string]string{
			"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_KEY_ID": "", "INPUT_KEY_NAME": name, "INPUT_PIN": "1234",
		})
		if r.code != 2 || !strings.Contains(r.log, says) {
			t.Errorf("%s: exit code %d", name, r.code)
		}
	}
}

// Certificates of the input cert_chain reach the plugin as a file, which goes
// with the run.
func TestInlineCertificateChain(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	chain := string(testenv.EncodePEM(w.root.Cert))
	var path, content string
	w.plugin.Checked = func(_ string, config map[string]string) error {
		path = config["cert_chain"]
		text, err := os.ReadFile(path)
		content = string(text)
		return err
	}
	r := w.run(t, map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": reference, "INPUT_CERT_CHAIN": chain})
	if r.code != 0 || strings.TrimSpace(content) != strings.TrimSpace(chain) {
		t.Fatalf("exit code %d, the plugin got %q", r.code, content)
	}
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is left behind", path)
	}
}
