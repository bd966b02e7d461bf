// SPDX-License-Identifier: Apache-2.0

package action

import (
	"net/http"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

// A token server that gives no right to push is no reason not to read: what needs
// no push goes well, and what does says that it is the push that was refused.
func TestTokenToPullIsEnoughUntilThePush(t *testing.T) {
	w := newRunWorld(t)
	reference, _ := w.image(t, "app", "v1")
	proxy := testenv.Start(t, func() (*registryfaults.Proxy, error) { return registryfaults.New(w.registry.Host) })
	proxy.Inject(registryfaults.Rule{Class: registryfaults.GetToken, Nth: 1, Fault: registryfaults.Fault{Do: func(x *registryfaults.Exchange) {
		if strings.Contains(x.Request.URL.Query().Get("scope"), "push") {
			x.Send(registryfaults.Answer{Status: http.StatusForbidden})
			return
		}
		x.Send(x.Forward())
	}}})
	inputs := map[string]string{
		"INPUT_MODE":                      "sign",
		"INPUT_SKIP_SIGNED":               "true",
		"INPUT_TARGET_ARTIFACT_REFERENCE": strings.Replace(reference, w.registry.Host, proxy.Host, 1),
		"INPUT_REGISTRY_USERNAME":         registryfaults.Username,
		"INPUT_REGISTRY_PASSWORD":         registryfaults.Password,
	}
	if r := w.run(t, inputs); r.code != exitFailure || !strings.Contains(r.artifact.Error, "can't push to ") {
		t.Errorf("not signed yet: exit code %d: %s", r.code, r.artifact.Error)
	}
	if r := w.run(t, map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": reference}); r.code != exitSuccess {
		t.Fatalf("exit code %d: %s", r.code, r.artifact.Error)
	}
	if r := w.run(t, inputs); r.code != exitSuccess || r.artifact.AlreadySigned == "" {
		t.Errorf("signed before: exit code %d: %s", r.code, r.artifact.Error)
	}
}
