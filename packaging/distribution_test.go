// SPDX-License-Identifier: Apache-2.0

//go:build snapshot

package packaging

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Distribution v3, whose tokens come from a server of their own: the released action and
// notation sign and verify there, and ask for no more rights than that takes.
func TestDistributionWithATokenServer(t *testing.T) {
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	key := token.Key("EC-256")
	if _, err := pki.Certify(key); err != nil {
		t.Fatal(err)
	}
	notation := testenv.Start(t, testenv.NewNotation)
	if err := notation.Trust(pki.Root); err != nil {
		t.Fatal(err)
	}
	if err := notation.InstallPlugin("pkcs11", pluginOf(t, "linux_amd64")); err != nil {
		t.Fatal(err)
	}
	tokens := newTokenServer(t)
	host := startDistribution(t, tokens)
	login := []string{"NOTATION_USERNAME=" + tokenUser, "NOTATION_PASSWORD=" + testenv.RegistryPassword}
	env := append(hsm.Env(), "NOTATION_PKCS11_PIN="+token.PIN)

	t.Run("action", func(t *testing.T) {
		reference := tokens.pushImage(t, host, "action")
		tokens.forget()
		root := testenv.PutFile(t, filepath.Join(t.TempDir(), "root.pem"), string(testenv.EncodePEM(pki.Root)))
		run := func(args ...string) {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), asset(t, "notation-pkcs11-action", "linux_amd64"), append(args, "--target-artifact-reference", reference,
				"--registry-username", tokenUser, "--trusted-certificates", root, "--trusted-identities", "*")...)
			cmd.Env = append(env, "HOME="+t.TempDir(), "INPUT_REGISTRY_PASSWORD="+testenv.RegistryPassword)
			if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "1 verified") {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		run("--key-id", key.URI(), "--module", hsm.Module)
		if got := tokens.forget(); !slices.Contains(got, "repository:action:pull,push") || slices.ContainsFunc(got, func(scope string) bool {
			return !strings.HasPrefix(scope, "repository:action:") || strings.Contains(scope, "delete")
		}) {
			t.Errorf("to sign, it asked for %q", got)
		}
		run("--mode", "verify")
		if got := tokens.forget(); !slices.Equal(got, []string{"repository:action:pull"}) {
			t.Errorf("to verify, it asked for %q", got)
		}
		if verified, err := notation.Run(t.Context(), login, "verify", reference); err != nil || verified.ExitCode != 0 {
			t.Errorf("notation verify: %v\n%s", err, verified.Stderr)
		}
	})
	t.Run("notation", func(t *testing.T) {
		reference := tokens.pushImage(t, host, "notation")
		for _, args := range [][]string{
			{"sign", "--plugin", "pkcs11", "--id", key.URI(), "--plugin-config", "module=" + hsm.Module, reference},
			{"verify", reference},
		} {
			if result, err := notation.Run(t.Context(), slices.Concat(env, login), args...); err != nil || result.ExitCode != 0 {
				t.Fatalf("notation %s: %v\n%s", args[0], err, result.Stderr)
			}
		}
	})
}

const tokenUser = "user"

// tokenServer gives out tokens as distribution's "Token Authentication Specification"
// has it: JSON Web Tokens for the scopes that were asked for, which it notes.
type tokenServer struct {
	*httptest.Server
	key         *ecdsa.PrivateKey
	certificate []byte // DER, of the key
	roots       string // path of the PEM that the registry trusts

	mu     sync.Mutex
	scopes []string
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	s := &tokenServer{}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := pki.Chain(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.certificate = chain[0].Raw
	s.roots = testenv.PutFile(t, filepath.Join(t.TempDir(), "roots.pem"), string(testenv.EncodePEM(chain[1:]...)))
	s.Server = httptest.NewServer(http.HandlerFunc(s.issue))
	t.Cleanup(s.Close)
	return s
}

// realm is the server's URL, as the registry tells it.
func (s *tokenServer) realm() string {
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1) + "/token"
}

// forget returns the scopes that were asked for since, each once.
func (s *tokenServer) forget() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.scopes)
	scopes := slices.Compact(s.scopes)
	s.scopes = nil
	return scopes
}

func (s *tokenServer) issue(w http.ResponseWriter, r *http.Request) {
	if user, password, ok := r.BasicAuth(); !ok || user != tokenUser || password != testenv.RegistryPassword {
		http.Error(w, "wrong password", http.StatusUnauthorized)
		return
	}
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	var granted []access
	for _, scope := range r.URL.Query()["scope"] {
		for scope := range strings.FieldsSeq(scope) {
			s.mu.Lock()
			s.scopes = append(s.scopes, scope)
			s.mu.Unlock()
			if parts := strings.Split(scope, ":"); len(parts) == 3 {
				granted = append(granted, access{parts[0], parts[1], strings.Split(parts[2], ",")})
			}
		}
	}
	now := time.Now()
	token, err := s.sign(map[string]any{
		"iss": "testenv", "sub": tokenUser, "aud": "distribution", "jti": rand.Text(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "access": granted,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 3600}) // nobody to tell
}

// sign makes a token of claims (RFC 7515, ES256).
func (s *tokenServer) sign(claims map[string]any) (string, error) {
	var parts []string
	for _, part := range []any{
		map[string]any{"alg": "ES256", "typ": "JWT", "x5c": []string{base64.StdEncoding.EncodeToString(s.certificate)}},
		claims,
	} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	digest := sha256.Sum256([]byte(strings.Join(parts, ".")))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", err
	}
	const size = 32
	signature := append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...)
	return strings.Join(append(parts, base64.RawURLEncoding.EncodeToString(signature)), "."), nil
}

// pushImage pushes an image and returns its reference.
func (s *tokenServer) pushImage(t *testing.T, host, name string) string {
	t.Helper()
	repository, err := remote.NewRepository(host + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	repository.PlainHTTP = true
	repository.Client = &auth.Client{Credential: auth.StaticCredential(host, auth.Credential{Username: tokenUser, Password: testenv.RegistryPassword})}
	image, err := testenv.PutImage(t.Context(), repository, name, "v1")
	if err != nil {
		t.Fatal(err)
	}
	return host + "/" + name + "@" + image.Digest.String()
}

var distributionListens = regexp.MustCompile(`listening on [0-9.]+:([0-9]+)`)

// startDistribution builds the registry and starts it; it ends with the test. It returns
// its host.
func startDistribution(t *testing.T, tokens *tokenServer) string {
	t.Helper()
	command := filepath.Join(t.TempDir(), "distribution")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "../testenv/tools/distribution", "-trimpath", "-o", command, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build distribution: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), command)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"}
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`version: 0.1
log: {accesslog: {disabled: true}, formatter: text}
http: {addr: "127.0.0.1:0"}
storage: {inmemory: {}, delete: {enabled: true}}
auth:
  token: {realm: %q, service: distribution, issuer: testenv, rootcertbundle: %q}
`, tokens.realm(), tokens.roots))
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
	})
	var said strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if found := distributionListens.FindStringSubmatch(lines.Text()); found != nil {
			go func() { // or it would block on a full pipe
				for lines.Scan() {
				}
			}()
			return "localhost:" + found[1]
		}
	}
	t.Fatalf("distribution ended at once:\n%s", &said)
	return ""
}
