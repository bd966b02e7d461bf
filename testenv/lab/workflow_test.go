// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

const root = "../.."

// The workflow that uses the action on itself runs green, as it does on GitHub:
// in a clean clone, by nektos/act, on this machine. It is given the executable,
// because the action would compile all of it with an empty cache.
func TestWorkflowRunsGreen(t *testing.T) {
	testenv.Long(t, "builds act, and runs a workflow")
	act := buildAct(t)
	clone := clone(t)
	log := runAct(t, act, clone, nil, "--workflows", ".github/workflows/selftest.yml", "--job", "selftest", "--env", "SELFTEST_BINARY="+buildAction(t))
	for _, want := range []string{
		"2 artifacts, 2 signed, 2 verified",   // the first use
		"2 artifacts, 1 verified, 1 failed",   // the second
		"Success - Main Check that it failed", // which had to fail
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", log)
	}
}

// A workflow that calls the reusable one has its images signed in that one's job, and
// gets the outputs. What act lacks stands in: it knows no commit of a called workflow and
// no environments, and there is no network to check out the action from.
func TestReusableWorkflowSignsForItsCaller(t *testing.T) {
	testenv.Long(t, "builds act, and runs a workflow")
	act := buildAct(t)
	clone := clone(t)
	world := startWorkflowWorld(t)
	checkout, err := filepath.Abs("testdata/checkout")
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range []string{
		`sed -i 's/job\.workflow_sha/github.sha/; s/job\.workflow_repository/github.repository/' .github/workflows/sign.yml`,
		`cp "$0" .github/workflows/caller.yml`,
		`git add --all && git -c user.name=selftest -c user.email=selftest@localhost commit --quiet --message=caller`,
	} {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script, filepath.Join(filepath.Dir(checkout), "caller.yml"))
		cmd.Dir = clone
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	root, err := os.ReadFile(world["SELFTEST_ROOT"])
	if err != nil {
		t.Fatal(err)
	}
	log := runAct(t, act, clone, []string{"PIN=" + world["SELFTEST_PIN"]}, "--workflows", ".github/workflows/caller.yml",
		"--local-repository", "actions/checkout@"+checkoutCommit(t, clone)+"="+checkout,
		"--secret", "PIN",
		"--var", "BINARY="+buildAction(t), "--var", "KEY_ID="+world["SELFTEST_KEY_ID"], "--var", "MODULE="+world["SELFTEST_MODULE"],
		"--var", "REFERENCES="+world["SELFTEST_API_SIGNED"]+"\n"+world["SELFTEST_TAG_SIGNED"], "--var", "ROOT="+string(root),
		"--env", "SOFTHSM2_CONF="+world["SOFTHSM2_CONF"], "--env", "CLONE="+clone)
	for _, want := range []string{"2 artifacts, 2 signed, 2 verified", "deployed true"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(log, world["SELFTEST_PIN"]) {
		t.Error("the log has the PIN")
	}
	if t.Failed() {
		t.Logf("%s", log)
	}
}

// checkoutCommit is that of actions/checkout in the reusable workflow.
func checkoutCommit(t *testing.T, clone string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(clone, ".github/workflows/sign.yml"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(content), "actions/checkout@")
	if !found || len(after) < 40 {
		t.Fatal("the workflow has no checkout")
	}
	return after[:40]
}

// startWorkflowWorld starts what a workflow signs, and returns its variables.
func startWorkflowWorld(t *testing.T) map[string]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "selftest.env")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- workflow(ctx, file) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for {
		content, err := os.ReadFile(file)
		if err == nil {
			variables := map[string]string{}
			for line := range strings.Lines(string(content)) {
				name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
				variables[name] = value
			}
			return variables
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// runAct runs the push of a clone as act does on this machine, with more variables in
// act's own environment. What is wrong fails the test; else it returns the log.
func runAct(t *testing.T, act, clone string, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, act, append([]string{"push", "--platform", "ubuntu-latest=-self-hosted", "--pull=false"}, args...)...)
	home := t.TempDir()
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"} {
		if value := goEnv(t, name); value != "" {
			cmd.Args = append(cmd.Args, "--env", name+"="+value)
		}
	}
	cmd.Dir = clone
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache")}, env...)
	cmd.WaitDelay = 10 * time.Second
	log, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("act: %v\n%s", err, log)
	}
	return string(log)
}

// buildAct builds the version of act that its tools module names.
func buildAct(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "act")
	cmd := exec.Command("go", "build", "-C", filepath.Join(root, "testenv", "tools", "act"), "-trimpath", "-o", path, "github.com/nektos/act")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build act: %v\n%s", err, out)
	}
	return path
}

func buildAction(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notation-pkcs11-action")
	if out, err := exec.Command("go", "build", "-o", path, root+"/cmd/notation-pkcs11-action").CombinedOutput(); err != nil {
		t.Fatalf("build the action: %v\n%s", err, out)
	}
	return path
}

// clone makes a repository of what this checkout has, ignored files left out.
func clone(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, script := range []string{
		`git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory="$0"`,
		`cd "$0" && git init --quiet --initial-branch=main && git add --all`,
		`cd "$0" && git -c user.name=selftest -c user.email=selftest@localhost commit --quiet --message=selftest`,
	} {
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script, dir)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("clone the checkout: %v\n%s", err, out)
		}
	}
	return dir
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}
