// SPDX-License-Identifier: Apache-2.0

package action

import (
	"encoding/json"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// A registry that repeats the password, in whatever it is asked for, does not get it
// shown.
func TestPasswordRepeatedAsAMediaTypeIsNotShown(t *testing.T) {
	const password = "swordfish-4711"
	w := newRunWorld(t)
	reference, image := w.image(t, "app", "v1")
	host := testenv.ServeRegistry(t, &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: w.registry.Host}) },
		ModifyResponse: func(resp *http.Response) error {
			_, sent, ok := resp.Request.BasicAuth()
			if !ok {
				resp.StatusCode, resp.Header = http.StatusUnauthorized, http.Header{"Www-Authenticate": {`Basic realm="test"`}}
				return nil
			}
			if strings.HasSuffix(resp.Request.URL.Path, image.Digest.String()) {
				resp.Header.Set("Content-Type", "application/x."+sent)
			}
			return nil
		},
	})
	inputs := map[string]string{"INPUT_TARGET_ARTIFACT_REFERENCE": strings.Replace(reference, w.registry.Host, host, 1), "INPUT_REGISTRY_USERNAME": "robot", "INPUT_REGISTRY_PASSWORD": password}
	for _, mode := range []string{"inspect", "verify", "sign"} {
		inputs["INPUT_MODE"] = mode
		r := w.run(t, inputs)
		told, err := json.Marshal(r.report)
		if err != nil {
			t.Fatal(err)
		}
		everything := strings.ReplaceAll(r.log, "::add-mask::"+password, "") + r.outputs + r.summary + string(told)
		if strings.Contains(everything, password) || !strings.Contains(everything, "REDACTED") {
			t.Errorf("%s: %s", mode, everything)
		}
		if digest := image.Digest.String(); !strings.Contains(inputs["INPUT_TARGET_ARTIFACT_REFERENCE"], digest) || !strings.Contains(string(told), digest) {
			t.Errorf("%s: the digest is not in %s", mode, told)
		}
	}
}
