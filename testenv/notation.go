// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// notationPackage is the command; its version stands in tools/notation/go.mod.
const notationPackage = "github.com/notaryproject/notation/cmd/notation"

// Notation is the notation command with an empty home directory: no keys, no
// plugins, no trust. Its methods may be called concurrently.
type Notation struct {
	// Command is the path of the executable.
	Command string

	home string
}

// NewNotation makes a home directory for the command. The first call in a
// checkout builds the command.
func NewNotation() (*Notation, error) {
	command, err := buildTool("notation", notationPackage)
	if err != nil {
		return nil, fmt.Errorf("build notation: %w", err)
	}
	home, err := os.MkdirTemp("", "notation-")
	if err != nil {
		return nil, fmt.Errorf("make notation's home directory: %w", err)
	}
	return &Notation{Command: command, home: home}, nil
}

// Next is the same configuration under the commands of tools/notation-next, which sign
// and verify with the main branch of notation-go. The first call in a checkout builds
// them.
func (n *Notation) Next() (*Notation, error) {
	command, err := buildTool("notation-next", ".")
	if err != nil {
		return nil, fmt.Errorf("build notation-next: %w", err)
	}
	return &Notation{Command: command, home: n.home}, nil
}

// Env returns all variables that the command starts with: those of [os.Environ]
// that a program needs to start, and where its home directory is.
func (n *Notation) Env() []string {
	return append(baseEnv(),
		"HOME="+n.home,
		"XDG_CONFIG_HOME="+filepath.Join(n.home, ".config"),
		"XDG_CACHE_HOME="+filepath.Join(n.home, ".cache"),
	)
}

// ConfigDir is notation's configuration directory. Plugins are in it too.
func (n *Notation) ConfigDir() string {
	if runtime.GOOS == "darwin" { // os.UserConfigDir, which notation asks
		return filepath.Join(n.home, "Library", "Application Support", "notation")
	}
	return filepath.Join(n.home, ".config", "notation")
}

// Result is what a command left behind.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Run runs the command with arguments and with more variables, NAME=value, in
// its environment. That the command fails is a result, not an error.
func (n *Notation) Run(ctx context.Context, env []string, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, n.Command, args...)
	cmd.Env = append(n.Env(), env...)
	cmd.WaitDelay = 10 * time.Second // a plugin's stray child may hold the streams
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		return Result{}, fmt.Errorf("run notation: %w", errors.Join(ctx.Err(), err))
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
}

// InstallPlugin makes an executable notation's plugin of a name. Unlike "notation
// plugin install" it does not run it first, and what the executable is called
// does not matter.
func (n *Notation) InstallPlugin(name, executable string) error {
	executable, err := filepath.Abs(executable)
	if err != nil {
		return fmt.Errorf("install plugin %s: %w", name, err)
	}
	dir := filepath.Join(n.ConfigDir(), "plugins", name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("install plugin %s: %w", name, err)
	}
	if err := os.Symlink(executable, filepath.Join(dir, "notation-"+name)); err != nil {
		return fmt.Errorf("install plugin %s: %w", name, err)
	}
	return nil
}

// AddKeyFile gives notation a signing key in files, as its own "cert
// generate-test" does, with the chain of its certificate, leaf first. It replaces
// the signing keys that notation had.
func (n *Notation) AddKeyFile(name string, key crypto.Signer, chain []*x509.Certificate) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("add key file %s: %w", name, err)
	}
	keyPath, certPath := filepath.Join(n.ConfigDir(), name+".key"), filepath.Join(n.ConfigDir(), name+".crt")
	list, err := json.Marshal(map[string]any{
		"keys": []map[string]string{{"name": name, "keyPath": keyPath, "certPath": certPath}},
	})
	if err != nil {
		return fmt.Errorf("add key file %s: %w", name, err)
	}
	if err := os.MkdirAll(n.ConfigDir(), 0o700); err != nil {
		return fmt.Errorf("add key file %s: %w", name, err)
	}
	for path, content := range map[string][]byte{
		keyPath:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
		certPath: EncodePEM(chain...),
		filepath.Join(n.ConfigDir(), "signingkeys.json"): list,
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return fmt.Errorf("add key file %s: %w", name, err)
		}
	}
	return nil
}

// trustStore is the name of the trust store that [Notation.Trust] fills.
const trustStore = "testenv"

// Trust makes notation trust signatures whose chain ends in one of the roots,
// on every artifact, under a policy of level strict.
func (n *Notation) Trust(roots ...*x509.Certificate) error {
	dir := filepath.Join(n.ConfigDir(), "truststore", "x509", "ca", trustStore)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make trust store: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "roots.pem"), EncodePEM(roots...), 0o600); err != nil {
		return fmt.Errorf("fill trust store: %w", err)
	}
	policy, err := json.MarshalIndent(map[string]any{
		"version": "1.0",
		"trustPolicies": []map[string]any{{
			"name":                  "testenv",
			"registryScopes":        []string{"*"},
			"signatureVerification": map[string]string{"level": "strict"},
			"trustStores":           []string{"ca:" + trustStore},
			"trustedIdentities":     []string{"*"},
		}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("make trust policy: %w", err)
	}
	if err := os.WriteFile(filepath.Join(n.ConfigDir(), "trustpolicy.json"), policy, 0o600); err != nil {
		return fmt.Errorf("write trust policy: %w", err)
	}
	return nil
}

// Close deletes the home directory. The built command stays.
func (n *Notation) Close() error {
	if err := os.RemoveAll(n.home); err != nil {
		return fmt.Errorf("delete notation's home directory: %w", err)
	}
	return nil
}
