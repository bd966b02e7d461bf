// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
)

// findSteps does runs without faults, and notes which steps they have. A request
// that is no step is one that no fault would be tried on.
func (w *faultWorld) findSteps(t *testing.T) {
	t.Helper()
	for i, k := range w.kinds {
		for _, m := range []mode{modeSign, modeVerify} {
			repository, image := verifyRepository, k.good
			if m == modeSign {
				repository = fmt.Sprintf("clean-%d", i)
				image = newFaultSubject(t, k, repository).image
			}
			proxy := startFaults(t, k)
			r := w.runner(t, k, w.signer).run(t, map[string]string{
				"INPUT_MODE": string(m), "INPUT_TARGET_ARTIFACT_REFERENCE": proxy.Host + "/" + repository + "@" + image.Digest.String(),
			})
			if r.code != 0 {
				t.Fatalf("exit code %d", r.code)
			}
			nth := map[registryfaults.Class]int{}
			for _, request := range proxy.Requests() {
				nth[request.Class]++
				n := slices.IndexFunc(faultSteps, func(s faultStep) bool {
					both := request.Class != registryfaults.GetReferrers // is asked for everywhere
					return s.mode == m && s.class == request.Class && s.nth == nth[request.Class] && (both || s.tagSchema != k.api)
				})
				if n < 0 {
					t.Fatalf("%s on %s: request %d of class %s is no step", m, k.name, nth[request.Class], request.Class)
				}
				k.steps[faultSteps[n]] = true
			}
		}
	}
	for _, s := range faultSteps {
		if !slices.ContainsFunc(w.kinds, func(k faultKind) bool { return k.steps[s] }) {
			t.Errorf("no run has the step %s of %s", s.name, s.mode)
		}
	}
}

// lasting are the faults that are tried for ever in the short form too: those that
// a second try gets over.
var lasting = []string{"401", "short-lived tokens", "429", "500", "502", "reset before", "closed after", "altered", "empty JSON", "redirect loop"}

// isNamed reports whether a case is one that the page names as not among the faults,
// if it goes on for ever.
func (c faultCase) isNamed() bool {
	return c.fault.Name == "404" && c.step.class == registryfaults.GetIndex && c.step.mode == modeSign
}

// plan returns the cases of the whole matrix, and of its short form.
func (w *faultWorld) plan() (whole, short []faultCase) {
	for _, s := range faultSteps {
		for i, f := range registryfaults.Faults {
			if !f.Happens(s.class) {
				continue
			}
			kinds := slices.DeleteFunc(slices.Clone(w.kinds), func(k faultKind) bool { return !k.steps[s] })
			for j, k := range kinds {
				once := faultCase{kind: k, step: s, fault: f, times: 1, timeout: time.Minute}
				ever := faultCase{kind: k, step: s, fault: f, timeout: 2 * time.Minute}
				if f.Hangs {
					once.timeout, ever.timeout = 4*time.Second, 4*time.Second
				}
				whole = append(whole, once)
				minutes := f.Hangs && s.name == lastLook
				inShort := j == i%len(kinds) && !minutes && !slices.Contains(anotherOf, s.name)
				if inShort {
					short = append(short, once)
				}
				if ever.isNamed() {
					continue
				}
				whole = append(whole, ever)
				if inShort && slices.Contains(lasting, f.Name) {
					short = append(short, ever)
				}
			}
		}
	}
	// Those that wait begin first.
	byWait := func(a, b faultCase) int { return a.times - b.times }
	slices.SortStableFunc(whole, byWait)
	slices.SortStableFunc(short, byWait)
	return whole, short
}
