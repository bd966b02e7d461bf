// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
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
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, act, "push",
		"--workflows", ".github/workflows/selftest.yml", "--job", "selftest",
		"--platform", "ubuntu-latest=-self-hosted", "--pull=false",
		"--env", "SELFTEST_BINARY="+buildAction(t))
	home := t.TempDir()
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOTOOLCHAIN"} {
		if value := goEnv(t, name); value != "" {
			cmd.Args = append(cmd.Args, "--env", name+"="+value)
		}
	}
	cmd.Dir = clone
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + filepath.Join(home, ".cache")}
	cmd.WaitDelay = 10 * time.Second
	log, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("act: %v\n%s", err, log)
	}
	for _, want := range []string{
		"2 artifacts, 2 signed, 2 verified",   // the first use
		"2 artifacts, 1 verified, 1 failed",   // the second
		"Success - Main Check that it failed", // which had to fail
	} {
		if !bytes.Contains(log, []byte(want)) {
			t.Errorf("the log lacks %q", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", log)
	}
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
