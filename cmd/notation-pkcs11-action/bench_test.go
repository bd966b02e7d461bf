// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// What is compared: artifacts of the action, and of the loop, which is too slow
// for as many.
const (
	benchArtifacts = 100
	loopArtifacts  = 10
)

// BenchmarkAction times one run of the action against a loop of notation with
// the plugin, on the same artifacts and with the same key, an RSA-3072: on
// loopback, and with 50 ms added to each request.
func BenchmarkAction(b *testing.B) {
	w := newBenchWorld(b)
	b.Run("raw signatures", w.rawSignatures)
	images := map[string][]string{"sign": w.push(b, "signed", benchArtifacts), "verify": w.push(b, "verified", benchArtifacts)}
	w.run(b, "sign", w.registry.Host, images["verify"]) // once: each has one signature
	for _, delay := range []time.Duration{0, 50 * time.Millisecond} {
		host := w.delayed(b, delay)
		for _, mode := range []string{"sign", "verify"} {
			b.Run(fmt.Sprintf("%s/%v", mode, delay), func(b *testing.B) { w.compare(b, mode, host, images[mode]) })
		}
	}
	b.Run("slow token", w.slowToken)
	b.Run("memory", w.memory)
}

// slowToken reports how long a run with 96 artifacts takes whose token takes 200 ms for a
// signature, as network HSMs do.
func (w *benchWorld) slowToken(b *testing.B) {
	module, err := faults.New(b.TempDir(), w.inputs["module"], "C_Sign delay 200")
	if err != nil {
		b.Fatal(err)
	}
	w.env = module.Env()
	defer func() { w.env = nil }()
	images := w.push(b, "slow", 96)
	for b.Loop() {
		w.runWith(b, map[string]string{
			"mode": "sign", "module": module.Path, "concurrency": "64",
			"target_artifact_reference": w.registry.Host + "/" + strings.Join(images, "\n"+w.registry.Host+"/"),
		})
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/run")
	b.ReportMetric(float64(module.AtOnce("C_Sign")), "sessions")
}

// benchWorld is a token, a registry with images, notation with the plugin, and
// the executables as users get them.
type benchWorld struct {
	action   string
	token    *testenv.Token
	key      *testenv.Key
	registry *testenv.Registry
	notation *testenv.Notation
	dir      string
	env      []string // of the module's
	inputs   map[string]string
}

func newBenchWorld(b *testing.B) *benchWorld {
	b.Helper()
	w := &benchWorld{registry: testenv.Start(b, testenv.NewRegistry), notation: testenv.Start(b, testenv.NewNotation), dir: b.TempDir()}
	for _, name := range []string{"notation-pkcs11", "notation-pkcs11-action"} {
		if out, err := exec.Command("go", "build", "-trimpath", "-o", w.path(name), "../"+name).CombinedOutput(); err != nil {
			b.Fatalf("go build: %v\n%s", err, out)
		}
	}
	w.action = w.path("notation-pkcs11-action")
	hsm := testenv.Start(b, testenv.NewSoftHSM)
	pki, err := testenv.NewPKI()
	if err == nil {
		w.token, err = hsm.AddToken("bench")
	}
	if err == nil {
		w.key, err = w.token.Generate(testenv.RSA3072, "signing")
	}
	if err != nil {
		b.Fatal(err)
	}
	chain, err := pki.Chain(w.key.Public)
	if err == nil {
		err = w.key.ImportChain(chain)
	}
	if err == nil {
		err = w.notation.Trust(pki.Root)
	}
	if err == nil {
		err = os.WriteFile(w.path("root.pem"), testenv.EncodePEM(pki.Root), 0o600)
	}
	if err == nil {
		err = w.notation.InstallPlugin("pkcs11", w.path("notation-pkcs11"))
	}
	if err != nil {
		b.Fatal(err)
	}
	w.inputs = map[string]string{
		"key_id": w.key.URI(), "module": hsm.Module, "pin": w.token.PIN, "trusted_certificates": w.path("root.pem"), "trusted_identities": "*",
	}
	return w
}

func (w *benchWorld) path(name string) string { return filepath.Join(w.dir, name) }

// push pushes images and returns them as repository@digest.
func (w *benchWorld) push(b *testing.B, repository string, n int) []string {
	b.Helper()
	var images []string
	for i := range n {
		image, err := w.registry.PushImage(b.Context(), repository, fmt.Sprintf("v%d", i))
		if err != nil {
			b.Fatal(err)
		}
		images = append(images, repository+"@"+image.Digest.String())
	}
	return images
}

// delayed returns a host in front of the registry that answers later.
func (w *benchWorld) delayed(b *testing.B, delay time.Duration) (host string) {
	b.Helper()
	if delay == 0 {
		return w.registry.Host
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: w.registry.Host})
		r.Out.Host = r.In.Host
	}}
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		time.Sleep(delay)
		proxy.ServeHTTP(rw, req)
	}))
	b.Cleanup(server.Close)
	return strings.Replace(strings.TrimPrefix(server.URL, "http://"), "127.0.0.1", "localhost", 1)
}

// compare reports how long an artifact takes the action and the loop, how many
// times faster the action is, and how many requests it sends for an artifact.
func (w *benchWorld) compare(b *testing.B, mode, host string, images []string) {
	var ours, loops time.Duration
	requests := 0
	for b.Loop() {
		before := len(w.registry.Requests())
		start := time.Now()
		w.run(b, mode, host, images)
		ours += time.Since(start)
		requests += len(w.registry.Requests()) - before
		start = time.Now()
		for _, image := range images[:loopArtifacts] {
			w.runNotation(b, mode, host+"/"+image)
		}
		loops += time.Since(start)
	}
	perArtifact := ours.Seconds() / float64(b.N*benchArtifacts)
	b.ReportMetric(0, "ns/op") // of both together, which says nothing
	b.ReportMetric(1000*perArtifact, "ms/artifact")
	b.ReportMetric(loops.Seconds()/float64(b.N*loopArtifacts)/perArtifact, "times-the-loop")
	b.ReportMetric(float64(requests)/float64(b.N*benchArtifacts), "requests/artifact")
}

// run does a run of the action and returns its peak memory in bytes.
func (w *benchWorld) run(b *testing.B, mode, host string, images []string) (peak int64) {
	b.Helper()
	return w.runWith(b, map[string]string{"mode": mode, "target_artifact_reference": host + "/" + strings.Join(images, "\n"+host+"/")})
}

// runWith is run with other inputs.
func (w *benchWorld) runWith(b *testing.B, more map[string]string) (peak int64) {
	b.Helper()
	cmd := exec.Command(w.action)
	cmd.Dir = b.TempDir()
	cmd.Env = append(append(w.token.Env(), w.env...), "PATH="+os.Getenv("PATH"), "HOME="+cmd.Dir, "RUNNER_TEMP="+cmd.Dir)
	inputs := maps.Clone(w.inputs)
	maps.Copy(inputs, more)
	for name, value := range inputs {
		cmd.Env = append(cmd.Env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	peaks := make(chan int64)
	go func() { peaks <- watchMemory(cmd.Process.Pid, done) }()
	err := cmd.Wait()
	close(done)
	peak = <-peaks
	if err != nil {
		b.Fatalf("%v\n%s", err, out.Bytes())
	}
	return peak
}

// watchMemory returns the peak of a process's resident memory in bytes. (What
// wait4 says of a child can be that of its parent, before the exec.)
func watchMemory(pid int, done <-chan struct{}) (peak int64) {
	for {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone when it has ended
		if _, rest, found := bytes.Cut(status, []byte("VmHWM:")); found {
			var kib int64
			if n, _ := fmt.Sscan(string(rest), &kib); n == 1 {
				peak = max(peak, kib<<10)
			}
		}
		select {
		case <-done:
			return peak
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (w *benchWorld) runNotation(b *testing.B, mode, reference string) {
	b.Helper()
	args := []string{mode, reference}
	if mode == "sign" {
		args = append(args, "--plugin", "pkcs11", "--id", w.key.URI(), "--plugin-config", "module="+w.inputs["module"], "--force-referrers-tag=false")
	}
	result, err := w.notation.Run(b.Context(), append(w.token.Env(), "NOTATION_PKCS11_PIN="+w.token.PIN), args...)
	if err != nil || result.ExitCode != 0 {
		b.Fatalf("notation %s: %v\n%s", mode, err, result.Stderr)
	}
}

// memory reports the most memory that runs with 1,000 artifacts take.
func (w *benchWorld) memory(b *testing.B) {
	images := w.push(b, "many", 1000)
	signing, verifying := w.run(b, "sign", w.registry.Host, images), int64(0)
	for b.Loop() {
		verifying = max(verifying, w.run(b, "verify", w.registry.Host, images))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(signing)/(1<<20), "signing-MiB")
	b.ReportMetric(float64(verifying)/(1<<20), "verifying-MiB")
}

// rawSignatures reports what the key does in one process and one session, with
// nothing around.
func (w *benchWorld) rawSignatures(b *testing.B) {
	for _, variable := range w.token.Env() {
		name, value, _ := strings.Cut(variable, "=")
		b.Setenv(name, value)
	}
	module, err := pkcs11.Load(w.inputs["module"], pkcs11.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer module.Close()
	uri, err := pkcs11.ParseURI(w.key.URI())
	if err != nil {
		b.Fatal(err)
	}
	token, err := module.Token(uri)
	if err != nil {
		b.Fatal(err)
	}
	key, err := token.Key(b.Context(), uri, pkcs11.KeyOptions{PIN: func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.NewPIN([]byte(w.token.PIN)), nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer key.Close()
	digest := make([]byte, crypto.SHA384.Size())
	for b.Loop() {
		if _, err := key.Sign(nil, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA384}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/signature")
}
