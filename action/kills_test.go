// SPDX-License-Identifier: Apache-2.0

package action

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/registryfaults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"
)

// runTask is a whole run of the action, in a process of its own.
type runTask struct {
	Key                   string // the file of the key and its certificates
	NotationDir, CacheDir string
	Environment           map[string]string
}

const runVariable = "NOTATION_PKCS11_TEST_RUN"

// A test binary that finds a run in its environment does that, and is no test.
func init() {
	encoded := os.Getenv(runVariable)
	if encoded == "" {
		return
	}
	var task runTask
	if err := json.Unmarshal([]byte(encoded), &task); err != nil {
		panic(err)
	}
	plugin, err := softplugin.Read(task.Key)
	if err != nil {
		panic(err)
	}
	a := Action{
		Version:     "1.2.3",
		BuiltIn:     func(BuiltInOptions) BuiltIn { return plugin },
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		Getenv:      func(name string) string { return task.Environment[name] },
		Unsetenv:    func(string) error { return nil },
		NotationDir: task.NotationDir,
		CacheDir:    task.CacheDir,
	}
	os.Exit(a.Main(context.Background(), nil))
}

// killCase is a kill at a request of a run that signs.
type killCase struct {
	kind faultKind
	at   int // which request
	// late says that the registry has carried the request out by then.
	late bool
}

func (c killCase) String() string {
	moment := "before"
	if c.late {
		moment = "after"
	}
	return fmt.Sprintf("%s/%s request %d", c.kind.name, moment, c.at)
}

// TestKilledAtEachRequest kills the process of a run with SIGKILL at each of its
// requests: before the registry got it, and when the registry has answered and the
// run does not know it yet. Then it lets others sign the same artifact: a run that
// knows nothing of the dead one, and one with the same cache directory.
func TestKilledAtEachRequest(t *testing.T) {
	testenv.Long(t, "kills a run at each of its requests")
	t.Parallel()
	w := newFaultWorld(t)
	var cases []killCase
	for i, k := range w.kinds {
		subject := newFaultSubject(t, k, fmt.Sprintf("whole-%d", i))
		proxy := startFaults(t, k)
		if err := w.child(t, subject.inputs(proxy), w.runner(t, k, w.signer)).Run(); err != nil {
			t.Fatalf("a run that is not killed: %v", err)
		}
		for at := range proxy.Requests() {
			cases = append(cases, killCase{k, at + 1, false}, killCase{k, at + 1, true})
		}
	}
	var held atomic.Int64
	var all sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i, c := range cases {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if testenv.Holds(t, c.String(), func(t *testing.T) { w.kill(t, c, fmt.Sprintf("kill-%d", i)) }) {
				held.Add(1)
			}
		})
	}
	all.Wait()
	testenv.Tally(t, testenv.Kills, len(cases), int(held.Load()))
}

// child is a process that does a run.
func (w *faultWorld) child(t *testing.T, inputs map[string]string, runner *runWorld) *exec.Cmd {
	t.Helper()
	key := runner.path("key.pem")
	content := append(softplugin.KeyPEM(t, w.signer.Key), testenv.EncodePEM(w.signer.Chain()...)...)
	if err := os.WriteFile(key, content, 0o600); err != nil {
		t.Fatal(err)
	}
	task := runTask{key, runner.path("notation"), runner.path("cache"), maps.Clone(runner.env)}
	maps.Copy(task.Environment, inputs)
	encoded, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), runVariable+"="+string(encoded))
	return child
}

// inputs are those of a run that signs a subject.
func (s faultSubject) inputs(proxy *registryfaults.Proxy) map[string]string {
	return map[string]string{"INPUT_MODE": "sign", "INPUT_TARGET_ARTIFACT_REFERENCE": proxy.Host + "/" + s.repository + "@" + s.image.Digest.String()}
}

// killAt has a run be killed at its nth request, before that is carried out or after.
func killAt(t *testing.T, child *exec.Cmd, proxy *registryfaults.Proxy, nth int, late bool) {
	t.Helper()
	var log bytes.Buffer
	child.Stdout, child.Stderr = &log, &log
	started := make(chan struct{})
	proxy.Inject(registryfaults.Rule{Nth: nth, Times: 1, Fault: registryfaults.Fault{Name: "kill", Do: func(x *registryfaults.Exchange) {
		if late {
			x.Forward()
		}
		<-started
		if err := child.Process.Kill(); err != nil {
			t.Error(err)
		}
		x.Wait()
	}}})
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the run was not killed: %v\n%s", err, &log)
	}
}

func (w *faultWorld) kill(t *testing.T, c killCase, repository string) {
	subject := newFaultSubject(t, c.kind, repository)
	proxy := startFaults(t, c.kind)
	dead := w.runner(t, c.kind, w.signer)
	killAt(t, w.child(t, subject.inputs(proxy), dead), proxy, c.at, c.late)
	orphans := storedSignatures(proxy)
	if listed := subject.checkListing(t); !isSubset(listed, orphans) {
		t.Errorf("%v are listed, and %v are stored", listed, orphans)
	}

	sign := func(runner *runWorld) (signed digest.Digest, warnings string) {
		r := runner.run(t, subject.inputs(proxy))
		if r.code != exitSuccess {
			t.Fatalf("the next run: exit code %d: %s", r.code, r.artifact.Error)
		}
		checkSecrets(t, proxy, r)
		return digest.Digest(r.artifact.Signed.Digest), strings.Join(r.artifact.Warnings, "\n")
	}
	listedBefore := subject.checkListing(t)
	stranger, _ := sign(w.runner(t, c.kind, w.signer))
	want := slices.Sorted(slices.Values(append(slices.Clone(listedBefore), stranger)))
	if listed := subject.checkListing(t); !slices.Equal(listed, want) {
		t.Errorf("after a run with another cache directory %v are listed, not %v", listed, want)
	}
	_, warnings := sign(dead)
	if listed, want := subject.checkListing(t), storedSignatures(proxy); !slices.Equal(listed, want) {
		t.Errorf("after a run with the same cache directory %v are listed, and %v are stored", listed, want)
	}
	for _, orphan := range orphans {
		if !slices.Contains(listedBefore, orphan) && !strings.Contains(warnings, orphan.String()) {
			t.Errorf("the signature %s is listed now, and nobody says so: %q", orphan, warnings)
		}
	}
	if notes, err := os.ReadDir(dead.path("cache/begun")); err != nil && !os.IsNotExist(err) || len(notes) > 0 {
		t.Errorf("%d notes are left: %v", len(notes), err)
	}
	w.checkVerifies(t, subject)
}

func isSubset(few, all []digest.Digest) bool {
	return !slices.ContainsFunc(few, func(d digest.Digest) bool { return !slices.Contains(all, d) })
}
