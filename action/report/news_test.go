// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// nightly is an artifact that was signed by this run and, with metadata of their
// days, by many before.
func nightly(valid, not int) *Artifact {
	digest := "sha256:" + strings.Repeat("0a", 32)
	a := &Artifact{
		Reference: "ghcr.io/example/app@" + digest, Resolved: "ghcr.io/example/app@" + digest, Digest: digest, Succeeded: true,
		Signed:       &Signed{Digest: "sha256:news"},
		Verification: &Verification{Verdict: Verified},
	}
	check := func(ok bool) []Check {
		if ok {
			return []Check{{Name: "integrity", Result: CheckPassed, Action: "enforce"}}
		}
		return []Check{{Name: "integrity", Result: CheckPassed, Action: "enforce"}, {Name: "userMetadata", Result: CheckFailed, Action: "enforce", Reason: "stale"}}
	}
	for i := range valid + not {
		a.Verification.Signatures = append(a.Verification.Signatures, Signature{Digest: fmt.Sprintf("sha256:old%d", i), Valid: i < valid, Checks: check(i < valid)})
	}
	a.Verification.Signatures = append(a.Verification.Signatures, Signature{Digest: "sha256:news", Valid: true, Checks: check(true)})
	return a
}

func TestSignatureOfThisRunComesFirst(t *testing.T) {
	for _, c := range []struct {
		valid, not int
		words      string
	}{{8, 1, "9 older: 8 valid, 1 not"}, {2, 0, "2 older: 2 valid"}, {0, 1, "1 older: 1 not valid"}, {0, 0, ""}} {
		a := nightly(c.valid, c.not)
		style := Style{Colour: true}
		details := strings.Join(style.Details(a), "\n")
		title, others := style.Others(a)
		if !strings.Contains(details, "signature sha256:news") || strings.Contains(details, "sha256:old") || !strings.Contains(details, c.words) {
			t.Errorf("%+v: %s", c, details)
		}
		if !strings.HasSuffix(title, c.words) || strings.Count(strings.Join(others, "\n"), "sha256:old") != c.valid+c.not || slices.ContainsFunc(others, func(s string) bool { return strings.Contains(s, "news") }) {
			t.Errorf("%+v: %q, %q", c, title, others)
		}
		r := &Report{Mode: "sign-and-verify", Succeeded: true, Artifacts: []Artifact{*a}}
		summary := r.Summary()
		for what, text := range map[string]string{"log": details + title + strings.Join(others, ""), "summary": summary} {
			legend := "❌ failed"
			if strings.Contains(strings.Replace(text, legend, "", 1), "❌") || strings.Contains(text, "\x1b["+red+"m") {
				t.Errorf("%+v: nothing failed this run, and the %s is red:\n%s", c, what, text)
			}
		}
		if c.words != "" {
			before, after, found := strings.Cut(summary, "<details><summary>"+c.words+"</summary>")
			if !found || strings.Contains(before, "sha256&#58;old") || !strings.Contains(after, "sha256&#58;old0") {
				t.Errorf("%+v: %s", c, summary)
			}
		}
	}
}

// What failed this run is red.
func TestOwnSignatureThatFailsIsRed(t *testing.T) {
	a := nightly(1, 0)
	own := &a.Verification.Signatures[1]
	own.Valid, own.Checks[0].Result = false, CheckFailed
	if summary := (&Report{Mode: "sign-and-verify", Artifacts: []Artifact{*a}}).Summary(); !strings.Contains(strings.Split(summary, "\n")[4], "| ❌ |") {
		t.Error(summary)
	}
	if details := strings.Join(Style{Colour: true}.Details(a), "\n"); !strings.Contains(details, "\x1b["+red+"m✗") {
		t.Error(details)
	}
}

// Where no signature was made, the one that decides comes first.
func TestDecisiveSignatureComesFirst(t *testing.T) {
	a := nightly(1, 2)
	a.Signed = nil
	if details := strings.Join(Style{}.Details(a), "\n"); !strings.Contains(details, "signature sha256:old0") || !strings.Contains(details, "3 more: 1 valid, 2 not") {
		t.Error(details)
	}
	a.AlreadySigned = "sha256:news"
	if details := strings.Join(Style{}.Details(a), "\n"); !strings.Contains(details, "signature sha256:news") {
		t.Error(details)
	}
}

func TestVerifyCommandCanBePasted(t *testing.T) {
	a := nightly(0, 0)
	command := "notation verify " + a.Resolved
	summary := (&Report{Mode: "sign-and-verify", Artifacts: []Artifact{*a}}).Summary()
	if !strings.Contains(summary, "<code>"+markdown(command, 1000)+"</code> |") || !strings.Contains(strings.Join(Style{}.Details(a), "\n"), "to verify: "+command) {
		t.Error(summary)
	}
	for _, hostile := range []string{"a/b;id@sha256:00", "$(id)/a@sha256:00", "-o/a@sha256:00", "a/b@sha256:00 x", "a/b:tag", ""} {
		if a.Resolved = hostile; a.verifyCommand() != "" {
			t.Errorf("%q", a.verifyCommand())
		}
	}
	a = nightly(0, 0)
	for path, want := range map[string]string{
		"release": "release", "/srv/a/release.d": "/srv/a/release.d", "../b": "../b", "a b": "", "-o": "", "$(id)": "", `C:\a`: "",
	} {
		if want != "" {
			want = "NOTATION_EXPERIMENTAL=1 notation verify --oci-layout " + want + "@sha256:00 --scope ghcr.io/me/app"
		}
		a.Resolved, a.Scope = "oci-layout:"+path+"@sha256:00", "ghcr.io/me/app"
		if got := a.verifyCommand(); got != want {
			t.Errorf("%q: %q", path, got)
		}
		if a.Scope = ""; a.verifyCommand() != "" {
			t.Errorf("%q without a scope", a.verifyCommand())
		}
	}
	a = nightly(0, 0)
	a.Signed, a.Verification.Verdict = nil, Failed
	if a.verifyCommand() != "" {
		t.Errorf("%q for an artifact that does not verify", a.verifyCommand())
	}
}
