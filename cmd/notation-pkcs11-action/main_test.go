// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// asCommand makes the test's executable the command.
const asCommand = "NOTATION_PKCS11_ACTION_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	host.Main() // of the command's children
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// world is a token with a key and its certificates, a registry, and where the
// command runs.
type world struct {
	hsm      *testenv.SoftHSM
	token    *testenv.Token
	key      *testenv.Key
	pki      *testenv.PKI
	registry *testenv.Registry
	dir      string // working directory, home and RUNNER_TEMP
	inputs   map[string]string
	env      []string
}

func newWorld(t *testing.T, kind testenv.KeyType, registry func() (*testenv.Registry, error)) *world {
	t.Helper()
	w := &world{hsm: testenv.Start(t, testenv.NewSoftHSM), registry: testenv.Start(t, registry), dir: t.TempDir()}
	var err error
	if w.token, err = w.hsm.AddToken("release"); err != nil {
		t.Fatal(err)
	}
	if w.key, err = w.token.Generate(kind, "signing"); err != nil {
		t.Fatal(err)
	}
	if w.pki, err = testenv.NewPKI(); err != nil {
		t.Fatal(err)
	}
	chain, err := w.pki.Chain(w.key.Public)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.key.ImportChain(chain); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("root.pem"), testenv.EncodePEM(w.pki.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	w.env = w.hsm.Env()
	w.inputs = map[string]string{
		"key_id":               w.key.URI(),
		"module":               w.hsm.Module,
		"pin":                  w.token.PIN,
		"trusted_certificates": "root.pem",
		"trusted_identities":   "*",
		"report":               "report.json",
	}
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// push pushes n images and returns their references, with digests.
func (w *world) push(t *testing.T, repository string, n int) []string {
	t.Helper()
	var references []string
	for i := range n {
		image, err := w.registry.PushImage(t.Context(), repository, fmt.Sprintf("v%d", i+1))
		if err != nil {
			t.Fatal(err)
		}
		references = append(references, w.registry.Host+"/"+repository+"@"+image.Digest.String())
	}
	return references
}

// outcome is what a run left behind.
type outcome struct {
	code           int
	stdout, stderr string
	outputs        string // GITHUB_OUTPUT
	summary        string // GITHUB_STEP_SUMMARY
	report         report.Report
}

// run runs the command as a step of a workflow: inputs as variables, on top of
// those of the world.
func (w *world) run(t *testing.T, targets []string, inputs map[string]string) outcome {
	t.Helper()
	return w.finish(t, w.command(t.Context(), targets, inputs))
}

func (w *world) command(ctx context.Context, targets []string, inputs map[string]string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.Dir = w.dir
	cmd.Env = append([]string{
		asCommand + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "RUNNER_TEMP=" + w.dir,
		"CI=true", "GITHUB_ACTIONS=true", "GITHUB_OUTPUT=" + w.path("output"), "GITHUB_STEP_SUMMARY=" + w.path("summary"),
		"INPUT_TARGET_ARTIFACT_REFERENCE=" + strings.Join(targets, "\n"),
	}, w.env...)
	for _, all := range []map[string]string{w.inputs, inputs} {
		for name, value := range all {
			cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
		}
	}
	return cmd
}

func (w *world) finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	for _, name := range []string{"output", "summary", "report.json"} {
		if err := os.RemoveAll(w.path(name)); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o := outcome{
		code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(),
		outputs: w.read("output"), summary: w.read("summary"),
	}
	if content := w.read("report.json"); content != "" {
		if err := json.Unmarshal([]byte(content), &o.report); err != nil {
			t.Fatalf("report: %v", err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("exit code %d\n%s%s", o.code, o.stdout, o.stderr)
		}
	})
	return o
}

// read returns what is in a file, which is nothing if there is no file.
func (w *world) read(name string) string {
	content, _ := os.ReadFile(w.path(name))
	return string(content)
}

// everything is all that a run said to anybody.
func (o outcome) everything(w *world) string {
	return o.stdout + o.stderr + o.outputs + o.summary + w.read("report.json")
}
