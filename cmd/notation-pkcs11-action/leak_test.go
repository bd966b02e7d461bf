// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/leak"
)

// Secrets that are written differently in each encoding, and found nowhere by
// chance.
const (
	leakPIN      = `r%25"<&+\ä-4Qv7kz`
	leakWrongPIN = `w%25"<&+\ä-8Hm2xd`
	leakPassword = `q%25"<&+\ö-7Tn3wr`
	leakToken    = "ghs_6Rk2yMfT9wQz"
	leakJobToken = "ghs_3Zp8vLcD5xYb"
	leakUser     = "robot"
)

// leakRun is one run of the action, with the PIN and the password in its inputs
// unless it says otherwise.
type leakRun struct {
	name     string
	inputs   map[string]string
	env      []string
	rules    []string // of the module
	registry string   // how it behaves; it asks for a login if that isn't said
	signal   syscall.Signal
	code     int
	ways     string // that secrets take
}

const (
	allWays     = "environment mask pipe registry"
	noPassword  = "-registry_username -registry_password"
	otherPlugin = "-pin -module"
)

// without leaves inputs out.
func without(names string, more map[string]string) map[string]string {
	inputs := map[string]string{}
	for name := range strings.FieldsSeq(names) {
		inputs[strings.TrimPrefix(name, "-")] = ""
	}
	for name, value := range more {
		inputs[name] = value
	}
	return inputs
}

var leakRuns = []leakRun{
	{name: "all goes well", ways: allWays},
	{name: "on no runner", env: []string{"GITHUB_ACTIONS="}, ways: "environment pipe registry"},
	{name: "PIN in a variable", inputs: without("-pin", nil), env: []string{"NOTATION_PKCS11_PIN=" + leakPIN}, ways: allWays},
	{name: "PIN in another variable", inputs: without("-pin", map[string]string{"plugin_config": "pin_source=env:MY_PIN"}), env: []string{"MY_PIN=" + leakPIN}, ways: allWays},
	{name: "verifying what was signed", inputs: without("-pin -key_id -module", map[string]string{"mode": "verify"}), ways: "environment mask registry"},
	{name: "inspecting", inputs: without("-pin -key_id -module", map[string]string{"mode": "inspect"}), ways: "environment mask registry"},
	{name: "wrong inputs", inputs: map[string]string{"concurrency": "none"}, code: 2, ways: "environment"},
	{name: "no such certificate", inputs: map[string]string{"trusted_certificates": "absent.pem"}, code: 2, ways: "environment mask"},

	{name: "401", registry: "401", code: 1, ways: "environment mask registry"},
	{name: "403", registry: "403", code: 1, ways: "environment mask registry"},
	{name: "403 that shows the request", registry: "echo", code: 1, ways: "environment mask registry"},
	{name: "500", registry: "500", inputs: map[string]string{"timeout": "2s"}, code: 1, ways: "environment mask registry"},
	{name: "redirect to another host", registry: "redirect", code: 1, ways: "environment mask registry"},
	{name: "login at another host", registry: "realm", code: 1, ways: "environment mask"},

	{name: "wrong PIN", inputs: map[string]string{"pin": leakWrongPIN}, code: 1, ways: allWays},
	{name: "crash in the login", rules: []string{"C_Login crash"}, env: []string{"GOTRACEBACK=crash"}, code: 1, ways: allWays},
	{name: "crash in the signature", rules: []string{"C_Sign crash"}, env: []string{"GOTRACEBACK=all"}, code: 1, ways: allWays},
	{name: "deadline", rules: []string{"C_Login hang"}, inputs: map[string]string{"plugin_config": "timeout=1s"}, code: 1, ways: allWays},
	{name: "SIGQUIT", rules: []string{"C_Login hang"}, env: []string{"GOTRACEBACK=all"}, signal: syscall.SIGQUIT, code: 2, ways: allWays},
	{name: "SIGABRT", rules: []string{"C_Login hang"}, env: []string{"GOTRACEBACK=all"}, signal: syscall.SIGABRT, code: 2, ways: allWays},
	{name: "SIGTERM", rules: []string{"C_Login hang"}, signal: syscall.SIGTERM, code: 1, ways: allWays},

	{name: "credential helper", inputs: without(noPassword, nil), env: []string{"DOCKER_CONFIG=helper"}, ways: "environment helper job mask pipe registry"},
	{name: "login in Docker's configuration", inputs: without(noPassword, nil), env: []string{"DOCKER_CONFIG=auths"}, ways: allWays},
	{name: "PIN in a variable that signingkeys.json names", inputs: without("-pin -key_id "+noPassword, map[string]string{"key_name": "release"}), env: []string{"MY_PIN=" + leakPIN, "DOCKER_CONFIG=helper"}, ways: "environment helper job mask pipe registry"},
	{name: "another plugin", inputs: without(otherPlugin, map[string]string{"plugin_name": "other", "key_id": "any"}), env: []string{"NOTATION_PKCS11_PIN=" + leakPIN}, code: 1, ways: "environment job mask registry"},
}

// The PIN goes to the module host, the password to the registry, the job's tokens to
// credential helpers and other plugins, and none of them, nor the runner's token, goes
// anywhere else: no file, no output, no other process.
func TestSecretsLeaveNoOtherWay(t *testing.T) {
	testenv.Long(t, "traces each way through the action")
	w := newLeakWorld(t)
	for _, run := range leakRuns {
		t.Run(run.name, func(t *testing.T) { w.try(t, run) })
	}
}

// leakWorld is a world with secrets, a registry that asks for a login, and another
// server.
type leakWorld struct {
	*world
	executable string
	image      string
	finder     *leak.Finder
	behaviour  string
	front      string // host and port of the registry
	elsewhere  string // URL of the other server
}

func newLeakWorld(t *testing.T) *leakWorld {
	t.Helper()
	w := &leakWorld{world: newWorld(t, testenv.EC256, testenv.NewTagSchemaRegistry)}
	w.executable = filepath.Join(t.TempDir(), "notation-pkcs11-action")
	if output, err := exec.Command("go", "build", "-trimpath", "-o", w.executable, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	if err := w.token.ChangePIN(leakPIN); err != nil {
		t.Fatal(err)
	}
	w.finder = leak.NewFinder(
		leak.Secret{Name: "the PIN", Value: leakPIN}, leak.Secret{Name: "the wrong PIN", Value: leakWrongPIN},
		leak.Secret{Name: "the password", Value: leakPassword}, leak.Secret{Name: "the runner's token", Value: leakToken},
		leak.Secret{Name: "the job's token", Value: leakJobToken},
	)
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	w.elsewhere = other.URL
	backend := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: w.registry.Host})
		r.Out.Host = r.In.Host
	}}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(rw, r, backend) }))
	t.Cleanup(front.Close)
	w.front = strings.Replace(front.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	_, digest, _ := strings.Cut(w.push(t, "app", 1)[0], "@")
	w.image = w.front + "/app@" + digest
	w.write(t, "helper/config.json", `{"credsStore":"leaktest"}`)
	w.write(t, "auths/config.json", string(marshal(t, map[string]any{"auths": map[string]any{w.front: map[string]string{"username": leakUser, "password": leakPassword}}})))
	w.write(t, "answer", string(marshal(t, map[string]string{"Username": leakUser, "Secret": leakPassword}))+"\n")
	w.write(t, "bin/docker-credential-leaktest", "#!/bin/sh\nread -r _\nread -r answer <"+w.path("answer")+"\nprintf '%s\\n' \"$answer\"\n")
	w.write(t, ".config/notation/signingkeys.json", string(marshal(t, map[string]any{"keys": []map[string]any{
		{"name": "release", "id": w.key.URI() + "?pin-source=env:MY_PIN", "pluginName": "pkcs11"},
	}})))
	w.write(t, ".config/notation/plugins/other/notation-other", "#!/bin/sh\n"+
		`echo '{"name":"other","description":"d","version":"1.0.0","url":"https://localhost","supportedContractVersions":["1.0"],"capabilities":["SIGNATURE_GENERATOR.RAW"]}'`+"\n"+
		"unset GITHUB_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN\nenv >&2\n[ $1 = get-plugin-metadata ]\n")
	return w
}

func marshal(t *testing.T, document any) []byte {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(text.Bytes())
}

func (w *leakWorld) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
}

// serve is the registry, which asks for a login and then behaves as it should.
func (w *leakWorld) serve(rw http.ResponseWriter, r *http.Request, backend http.Handler) {
	_, password, ok := r.BasicAuth()
	if w.behaviour == "realm" {
		rw.Header().Set("WWW-Authenticate", `Bearer realm="`+w.elsewhere+`/token",service="registry"`)
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !ok || password != leakPassword || w.behaviour == "401" {
		rw.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		rw.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch w.behaviour {
	case "":
		backend.ServeHTTP(rw, r)
	case "403":
		rw.WriteHeader(http.StatusForbidden)
	case "500":
		rw.WriteHeader(http.StatusInternalServerError)
	case "echo":
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusForbidden)
		json.NewEncoder(rw).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": fmt.Sprint("you sent: ", r.Header)}}})
	case "redirect":
		http.Redirect(rw, r, w.elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
	}
}

func (w *leakWorld) try(t *testing.T, run leakRun) {
	w.behaviour = run.registry
	module, err := faults.New(t.TempDir(), w.hsm.Module, run.rules...)
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string]string{"module": module.Path, "pin": leakPIN, "registry_username": leakUser, "registry_password": leakPassword}
	for name, value := range run.inputs {
		inputs[name] = value
	}
	cmd := w.command(t.Context(), []string{w.image}, inputs)
	cmd = &exec.Cmd{Path: w.executable, Args: []string{w.executable}, Dir: w.dir, Env: slices.Concat(cmd.Env, module.Env(), []string{
		"PATH=" + w.path("bin") + ":" + os.Getenv("PATH"), "DOCKER_CONFIG=" + w.path("none"),
		"GITHUB_TOKEN=" + leakJobToken, "ACTIONS_RUNTIME_TOKEN=" + leakToken, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + leakJobToken,
	})}
	for _, variable := range run.env {
		if dir, ok := strings.CutPrefix(variable, "DOCKER_CONFIG="); ok {
			variable = "DOCKER_CONFIG=" + w.path(dir)
		}
		cmd.Env = append(cmd.Env, variable)
	}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	result, err := leak.Trace(t.Context(), cmd, w.finder, func() {
		if run.signal != 0 {
			signalDuringLogin(t, module, w.executable, run.signal)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != run.code {
		t.Errorf("exit code %d, want %d:\n%.2000s", code, run.code, &said)
	}
	taken, leaks := result.Sort()
	for _, l := range leaks {
		t.Errorf("leak: %v\n%.2000q", l, l.Data)
	}
	if want := strings.Fields(run.ways); !slices.Equal(taken, want) {
		t.Errorf("secrets took the ways %q, want %q:\n%.2000s", taken, want, &said)
	}
	_, port, _ := strings.Cut(w.front, ":")
	for _, l := range result.Leaks {
		if strings.HasPrefix(l.Place, "TCP") && !strings.HasSuffix(l.Place, ":"+port+"]") {
			t.Errorf("leak to another server: %v", l)
		}
	}
	for _, p := range result.Unguarded("notation-pkcs11-action") {
		t.Errorf("%v is open to others", p)
	}
	for _, made := range result.Created {
		if made.Mode&0o022 != 0 && filepath.Base(made.Path) != "report.json" { // which is for whom the user's umask says
			t.Errorf("%v makes %s with the mode %o", made.Process, made.Path, made.Mode)
		}
	}
}

// signalDuringLogin sends a signal to the action when the module hangs in C_Login.
func signalDuringLogin(t *testing.T, module *faults.Module, executable string, signal syscall.Signal) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		calls, err := module.Journal()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(calls, func(c faults.Call) bool { return c.Name == "C_Login" })
		if i < 0 {
			continue
		}
		var parent int
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", calls[i].PID))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "\nPPid:")
		if _, err := fmt.Sscan(rest, &parent); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(parent, signal); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the module was not called")
}
