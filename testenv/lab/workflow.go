// SPDX-License-Identifier: Apache-2.0

// Command selftest is the world that the workflow .github/workflows/selftest.yml
// signs in: a token with a key and its certificates, and two registries on
// loopback with images. It writes where all that is into a file, as variables
// for GITHUB_ENV, and stays until it gets a signal:
//
//	selftest FILE &
//
// It gives up after half an hour, so that nothing is left on a machine of which
// the workflow was killed.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

const lifetime = 30 * time.Minute

func main() {
	os.Exit(selftest())
}

func selftest() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, lifetime)
	defer cancel()
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: selftest FILE")
		return 2
	}
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "selftest:", err)
		return 1
	}
	return 0
}

// run makes the world, says where it is, and keeps it until ctx ends.
func run(ctx context.Context, file string) (err error) {
	w := &world{}
	defer func() { err = errors.Join(err, w.Close()) }()
	variables, err := w.make(ctx)
	if err != nil {
		return err
	}
	// Whole, or not there: the workflow waits for the file.
	part := file + ".part"
	if err := os.WriteFile(part, []byte(strings.Join(variables, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// world is what goes when the program ends.
type world struct {
	dir   string
	parts []io.Closer
}

// Close ends all parts.
func (w *world) Close() error {
	var err error
	for _, part := range w.parts {
		err = errors.Join(err, part.Close())
	}
	if w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

// make makes the world and returns the variables.
func (w *world) make(ctx context.Context) ([]string, error) {
	var err error
	if w.dir, err = os.MkdirTemp("", "selftest-"); err != nil {
		return nil, err
	}
	variables, err := w.token()
	if err != nil {
		return nil, err
	}
	for name, start := range map[string]func() (*testenv.Registry, error){
		"API": testenv.NewRegistry,
		"TAG": testenv.NewTagSchemaRegistry,
	} {
		registry, err := start()
		if err != nil {
			return nil, err
		}
		w.parts = append(w.parts, registry)
		for _, image := range []string{"signed", "unsigned"} {
			pushed, err := registry.PushImage(ctx, "selftest/"+image, "v1")
			if err != nil {
				return nil, err
			}
			variables = append(variables, fmt.Sprintf("SELFTEST_%s_%s=%s/selftest/%s@%s",
				name, strings.ToUpper(image), registry.Host, image, pushed.Digest))
		}
	}
	return variables, nil
}

// token makes a token with a key, and the certificates for it.
func (w *world) token() ([]string, error) {
	hsm, err := testenv.NewSoftHSM()
	if err != nil {
		return nil, err
	}
	w.parts = append(w.parts, hsm)
	token, err := hsm.AddToken("selftest")
	if err != nil {
		return nil, err
	}
	key, err := token.Generate(testenv.EC256, "signing")
	if err != nil {
		return nil, err
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		return nil, err
	}
	chain, err := pki.Chain(key.Public)
	if err != nil {
		return nil, err
	}
	if err := key.ImportChain(chain); err != nil {
		return nil, err
	}
	root := filepath.Join(w.dir, "root.pem")
	if err := os.WriteFile(root, testenv.EncodePEM(pki.Root), 0o600); err != nil {
		return nil, err
	}
	return append(hsm.Env(),
		"SELFTEST_KEY_ID="+key.URI(),
		"SELFTEST_MODULE="+hsm.Module,
		"SELFTEST_PIN="+token.PIN,
		"SELFTEST_ROOT="+root,
	), nil
}
