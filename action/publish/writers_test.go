// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// writerTask is what a child process of this test binary does.
type writerTask struct {
	Artifact string
	Runs     int // one after the other
	Count    int // of signatures in each
	Journal  string
}

const writerVariable = "NOTATION_PKCS11_TEST_WRITER"

// writerAgent is what the processes call themselves.
const writerAgent = "notation-pkcs11-action"

// A test binary that finds a task in its environment does that, and is no test.
func init() {
	if task := os.Getenv(writerVariable); task != "" {
		if err := runWriter(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func runWriter(encoded string) error {
	var task writerTask
	if err := json.Unmarshal([]byte(encoded), &task); err != nil {
		return err
	}
	ctx := context.Background()
	for run := range task.Runs {
		r := registry.New(registry.Options{CredentialsFile: os.DevNull, UserAgent: fmt.Sprintf("%s/%d", writerAgent, os.Getpid())})
		app, err := r.Resolve(ctx, task.Artifact)
		if err != nil {
			return err
		}
		p := New(Options{Journal: task.Journal})
		for i := range task.Count {
			result, err := p.Push(ctx, app, fmt.Appendf(nil, "envelope %d.%d of %d", run, i, os.Getpid()), mediaTypeCOSE, thumbprints)
			if err != nil {
				return err
			}
			fmt.Println(result.Manifest.Digest)
			for _, warning := range result.Warnings {
				fmt.Fprintln(os.Stderr, warning)
			}
		}
		if err := errors.Join(p.Settle(ctx)...); err != nil {
			return err
		}
	}
	return nil
}

// startWriter starts a child process with a task.
func startWriter(t *testing.T, task writerTask, stdout, stderr *bytes.Buffer) *exec.Cmd {
	t.Helper()
	encoded, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), writerVariable+"="+string(encoded))
	child.Stdout, child.Stderr = stdout, stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

// writers are child processes that push signatures of one artifact at once.
type writers struct {
	children []*exec.Cmd
	outputs  []struct{ stdout, stderr bytes.Buffer }
}

func startWriters(t *testing.T, processes int, task writerTask) *writers {
	t.Helper()
	w := &writers{outputs: make([]struct{ stdout, stderr bytes.Buffer }, processes)}
	for i := range processes {
		w.children = append(w.children, startWriter(t, task, &w.outputs[i].stdout, &w.outputs[i].stderr))
	}
	return w
}

// wait returns what the processes said that they have pushed.
func (w *writers) wait(t *testing.T) (pushed []digest.Digest) {
	t.Helper()
	for i, child := range w.children {
		if err := child.Wait(); err != nil {
			t.Errorf("process %d: %v: %s", i, err, &w.outputs[i].stderr)
		}
		for line := range strings.FieldsSeq(w.outputs[i].stdout.String()) {
			pushed = append(pushed, digest.Digest(line))
		}
	}
	slices.Sort(pushed)
	return pushed
}

// storm is a way in which processes push at once.
type storm struct {
	kind        func() (*testenv.Registry, error)
	runs, count int // of each process: runs one after the other, signatures in each
}

func storms() map[string]storm {
	if testenv.Soak() {
		return map[string]storm{
			"a run for each signature":                    {testenv.NewTagSchemaRegistry, 25, 1},
			"a run for each signature on docker-registry": {testenv.NewDockerRegistry, 25, 1},
			"many runs":                       {testenv.NewTagSchemaRegistry, 10, 10},
			"many runs on docker-registry":    {testenv.NewDockerRegistry, 10, 10},
			"one run each":                    {testenv.NewTagSchemaRegistry, 1, 100},
			"one run each on docker-registry": {testenv.NewDockerRegistry, 1, 100},
		}
	}
	return map[string]storm{
		"many runs":                       {testenv.NewTagSchemaRegistry, 5, 5},
		"one run each on docker-registry": {testenv.NewDockerRegistry, 1, 25},
	}
}

func TestProcessesAtOnceLoseNothing(t *testing.T) {
	const processes = 8
	notation := testenv.Start(t, testenv.NewNotation)
	for name, s := range storms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := testenv.Start(t, s.kind)
			_, app := image(t, backend.Host, "v1", backend.PushImage)
			journal := t.TempDir()
			start := time.Now()
			said := startWriters(t, processes, writerTask{app.String(), s.runs, s.count, journal}).wait(t)
			t.Logf("%d processes with %d runs of %d signatures each took %v and %d requests", processes, s.runs, s.count, time.Since(start).Round(time.Millisecond), len(backend.Requests()))
			found := listed(t, app)
			if len(said) != processes*s.runs*s.count || !slices.Equal(found, said) {
				t.Errorf("%d signatures were pushed, %d are listed", len(said), len(found))
			}
			testenv.Tally(t, testenv.Signatures, len(said), len(found))
			result, err := notation.Run(t.Context(), nil, "list", "--max-signatures", "1000", app.String())
			if err != nil {
				t.Fatal(err)
			}
			for _, signature := range said {
				if !strings.Contains(result.Stdout, signature.String()) {
					t.Fatalf("notation list does not show %s: %s", signature, result.Stderr)
				}
			}
			if left, err := os.ReadDir(journal); err != nil || len(left) > 0 {
				t.Errorf("%d notes are left in the journal: %v", len(left), err)
			}
		})
	}
}

// strangers are clients that people use beside us. They write the same index
// without ever looking back, and lose entries of their own.
var strangers = map[string]struct {
	agent string                                                           // how its User-Agent starts
	start func(t *testing.T, artifact registry.Target) (once func() error) // once signs or attaches
}{
	"notation": {"notation/", startNotation},
	"oras":     {"oras-go", startOras},
}

// startNotation is the notation command, with a key of its own.
func startNotation(t *testing.T, artifact registry.Target) (once func() error) {
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.AddKeyFile("local", key, chain); err != nil {
		t.Fatal(err)
	}
	return func() error {
		_, err := notation.Run(t.Context(), nil, "sign", "--key", "local", artifact.String())
		return err
	}
}

// startOras is a client of the library that the oras command is made of. It
// attaches SBOMs.
func startOras(t *testing.T, artifact registry.Target) (once func() error) {
	return func() error {
		repository, err := remote.NewRepository(artifact.Store.String())
		if err != nil {
			return err
		}
		repository.PlainHTTP = true
		sbom, err := oras.PushBytes(t.Context(), repository, "text/spdx+json", fmt.Appendf(nil, `{"name":%q}`, rand.Text()))
		if err != nil {
			return err
		}
		_, err = oras.PackManifest(t.Context(), repository, oras.PackManifestVersion1_1, "application/spdx+json", oras.PackManifestOptions{
			Subject: &artifact.Desc,
			Layers:  []ocispec.Descriptor{sbom},
		})
		var referrers *remote.ReferrersError
		if errors.As(err, &referrers) && referrers.IsReferrersIndexDelete() {
			return nil // the entry is there; somebody else deleted the old index
		}
		return err
	}
}

// Others must not lose what is ours. What they lose among themselves is theirs;
// we must not write over what we have been shown.
func TestStrangersAtTheSameTimeDropNothingOfOurs(t *testing.T) {
	loops, times, processes, runs, count := 2, 15, 3, 2, 5
	if testenv.Soak() {
		loops, times, processes, runs, count = 3, 100, 4, 10, 5
	}
	for name, s := range strangers {
		for kind, newRegistry := range map[string]func() (*testenv.Registry, error){"olareg": testenv.NewTagSchemaRegistry, "docker-registry": testenv.NewDockerRegistry} {
			t.Run(name+" on "+kind, func(t *testing.T) {
				t.Parallel()
				backend := testenv.Start(t, newRegistry)
				index := newLedger(t, backend)
				_, app := image(t, index.host, "v1", backend.PushImage)
				var others sync.WaitGroup
				for range loops {
					once := s.start(t, app)
					others.Go(func() {
						for range times {
							if err := once(); err != nil {
								t.Error(err)
							}
						}
					})
				}
				ours := startWriters(t, processes, writerTask{app.String(), runs, count, t.TempDir()}).wait(t)
				others.Wait()

				found := listed(t, app)
				kept := 0
				for _, signature := range ours {
					if slices.Contains(found, signature) {
						kept++
					} else {
						t.Errorf("%s is lost", signature)
					}
				}
				if len(ours) != processes*runs*count {
					t.Errorf("%d of ours were pushed", len(ours))
				}
				testenv.Tally(t, testenv.Signatures, len(ours), kept)
				for writer, dropped := range index.careless {
					if strings.HasPrefix(writer, writerAgent) {
						t.Errorf("%s dropped %d entries that it had been shown", writer, len(dropped))
					}
				}
				t.Logf("of %d entries of %s, %d were dropped by itself, %d by us", loops*times, name, index.lost(s.agent, s.agent), index.lost(s.agent, writerAgent))
			})
		}
	}
}
