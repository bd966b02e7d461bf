// SPDX-License-Identifier: Apache-2.0

package packaging

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// readWorkflows returns this repository's workflows by name.
func readWorkflows(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("no workflows")
	}
	workflows := map[string]string{}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		workflows[filepath.Base(path)] = string(content)
	}
	return workflows
}

var (
	usesLine = regexp.MustCompile(`(?m)^\s*(?:- )?uses:\s*(\S+)(.*)$`)
	pinned   = regexp.MustCompile(`^([\w.-]+/[\w.-]+)(?:/[\w./-]+)?@([0-9a-f]{40})$`)
	versions = regexp.MustCompile(`^ # v\d+\.\d+\.\d+$`)
)

// A tag can be moved to other code; a commit can't.
func TestWorkflowsPinActionsByCommit(t *testing.T) {
	commits := map[string]string{}
	for name, workflow := range readWorkflows(t) {
		for _, match := range usesLine.FindAllStringSubmatch(workflow, -1) {
			reference, comment := match[1], match[2]
			if strings.HasPrefix(reference, "./") {
				continue
			}
			parts := pinned.FindStringSubmatch(reference)
			if parts == nil || !versions.MatchString(comment) {
				t.Errorf("%s: %s%s: want a commit, and the version in a comment", name, reference, comment)
				continue
			}
			if other, ok := commits[parts[1]]; ok && other != parts[2] {
				t.Errorf("%s is used at %s and at %s", parts[1], parts[2], other)
			}
			commits[parts[1]] = parts[2]
		}
	}
}

// Rights are given to single jobs, and code of strangers never meets secrets.
func TestWorkflowsStartWithReadAccessAlone(t *testing.T) {
	for name, workflow := range readWorkflows(t) {
		if !strings.Contains(workflow, "\npermissions:\n  contents: read\n\n") {
			t.Errorf("%s: want permissions of contents: read, and no more, for the whole workflow", name)
		}
		if strings.Contains(workflow, "pull_request_target") {
			t.Errorf("%s runs on pull_request_target", name)
		}
	}
}

var (
	checkout            = regexp.MustCompile(`uses:\s*actions/checkout@`)
	checkoutWithoutKeys = regexp.MustCompile(`uses: actions/checkout@.*\n +with:\n +persist-credentials: false\n`)
)

// A checkout leaves the job's token in .git/config, where the code that the job
// then runs can read it, unless it is told not to.
func TestWorkflowsKeepNoCredentialsInTheCheckout(t *testing.T) {
	for name, workflow := range readWorkflows(t) {
		all, without := checkout.FindAllString(workflow, -1), checkoutWithoutKeys.FindAllString(workflow, -1)
		if len(all) == 0 || len(all) != len(without) {
			t.Errorf("%s: %d of %d checkouts start with persist-credentials: false", name, len(without), len(all))
		}
	}
}

// A ${{ }} inside a script is pasted into it before the shell reads it: of a workflow,
// and of the action, whose inputs a caller's pull request may choose.
func TestWorkflowScriptsHaveNoExpressions(t *testing.T) {
	scripts := readWorkflows(t)
	action, err := os.ReadFile("../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	scripts["action.yml"] = string(action)
	for name, workflow := range scripts {
		script := -1 // the indent of the script's key
		for number, line := range strings.Split(workflow, "\n") {
			text := strings.TrimLeft(line, " ")
			indent := len(line) - len(text)
			if script >= 0 && text != "" && indent <= script {
				script = -1
			}
			key := strings.TrimPrefix(text, "- ")
			if strings.HasPrefix(key, "run:") {
				script = indent + len(text) - len(key)
			}
			if script >= 0 && strings.Contains(line, "${{") {
				t.Errorf("%s:%d: %s", name, number+1, line)
			}
		}
	}
}
