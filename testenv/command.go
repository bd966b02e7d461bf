// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What foreign commands may take. The slowest, a first build of the notation
// command, takes some 30 s on two cores; one on a token takes seconds, but waits
// for ever where another process keeps the TPM.
const (
	commandTimeout = 5 * time.Minute
	tokenTimeout   = time.Minute
)

// baseEnv is all of this process's environment that foreign commands get:
// enough to start, nothing that could lead them to the user's own tokens,
// credentials or configuration.
func baseEnv() []string {
	var env []string
	for _, name := range []string{"PATH", "TMPDIR", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// run runs a command to its end and returns its standard output. The error of a
// command that failed carries what it printed.
func run(env []string, name string, args ...string) ([]byte, error) {
	return runFor(commandTimeout, env, name, args...)
}

func runFor(timeout time.Duration, env []string, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed: run \"make setup\": %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err,
			bytes.TrimSpace(append(stderr.Bytes(), stdout.Bytes()...)))
	}
	return stdout.Bytes(), nil
}
