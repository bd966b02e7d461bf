// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// start is where a reader begins, and clicks is how many links away all else is.
const (
	start  = "../README.md"
	clicks = 2
)

// distances are how many links lead from the start to each page.
func distances(t *testing.T) map[string]int {
	t.Helper()
	all, far := pages(t), map[string]int{start: 0}
	for next := []string{start}; len(next) > 0; next = next[1:] {
		for _, match := range link.FindAllStringSubmatch(all[next[0]], -1) {
			target, _, _ := strings.Cut(match[1], "#")
			to := strings.TrimPrefix(filepath.Join(filepath.Dir(next[0]), target), "../docs/")
			_, isPage := all[to]
			if _, seen := far[to]; target == "" || !isPage || seen {
				continue
			}
			far[to] = far[next[0]] + 1
			next = append(next, to)
		}
	}
	return far
}

func TestEachPageIsTwoClicksAway(t *testing.T) {
	far := distances(t)
	for path := range pages(t) {
		if distance, found := far[path]; !found || distance > clicks {
			t.Errorf("%s is %d clicks away (found: %v)", path, distance, found)
		}
	}
}

// questions are those that readers come with. Each has the page with the answer, and
// the heading over it or words in it.
var questions = []struct{ question, page, heading, words string }{
	{"my PIN is locked", "locked-pin.md", "my-pin-is-locked", "who unlocks it"},
	{"how do I sign in GitLab?", "pipelines/gitlab.md", "sign-in-gitlab-ci", "notation-pkcs11-action \\\n"},
	{"how do I rotate the key or its certificate?", "certificates.md", "rotate-the-key", "generate-key"},
	{"is olareg supported?", "compatibility.md", "registries", "olareg 0.1 with the Referrers API"},
	{"401 on push", "troubleshooting.md", "by-symptom", "fails with 401 or 403"},
	{"how do I sign a multi-arch image?", "multi-platform.md", "sign-with-the-notation-cli", "notation sign"},
	{"how do I use the YubiKey's slot 9c?", "tokens/yubikey.md", "create-the-key-and-its-certificate", "9c"},
	{"authenticTimestamp failed", "troubleshooting.md", "by-symptom", "`authenticTimestamp`"},
	{"how do I verify in Kubernetes?", "kubernetes.md", "set-up-ratify", "kind: Verifier"},
	{"several private keys match", "troubleshooting.md", "by-symptom", "`several private keys match`"},
	{"how do I upgrade the plugin?", "install.md", "upgrade", "already exists"},
	{"how do I uninstall it?", "install.md", "uninstall", "notation plugin uninstall"},
}

func TestQuestionsAreAnsweredTwoClicksAway(t *testing.T) {
	far := distances(t)
	for _, q := range questions {
		distance, found := far[q.page]
		text := page(t, q.page)
		if !found || distance > clicks || !anchors(text)[q.heading] || !strings.Contains(text, q.words) {
			t.Errorf("%s %s is %d clicks away, with the heading: %v, and the words: %v",
				q.question, q.page, distance, anchors(text)[q.heading], strings.Contains(text, q.words))
		}
	}
}

// A first reader gets through the README in five minutes.
func TestReadmeIsShort(t *testing.T) {
	if words := len(strings.Fields(page(t, start))); words > 1200 {
		t.Errorf("README.md has %d words", words)
	}
}
