// SPDX-License-Identifier: Apache-2.0

// Command demo signs images with keys that stay in a token, with the real
// notation command, and shows what that adds to a registry. "make demo" builds
// the plugin and runs it.
//
// It brings its own world, deleted at the end: a SoftHSM token, certificates, a
// registry with the Referrers API and one without. DEMO_REGISTRY=registry2 makes
// the latter a docker-registry process. [run] is the demo from top to bottom.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// pluginPath is where "make build" puts the plugin.
const pluginPath = "bin/notation-pkcs11"

func main() {
	os.Exit(demo())
}

func demo() int {
	signal.Ignore(syscall.SIGPIPE) // a reader that leaves early must not keep the world from being deleted
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, newTerminal(os.Stdout, os.Getenv), pluginPath, os.Getenv("DEMO_REGISTRY")); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return 1
	}
	return 0
}

// run makes the world, signs and verifies on each kind of registry, and deletes
// the world.
func run(ctx context.Context, out *terminal, plugin, registryChoice string) (err error) {
	kinds, err := registryKinds(registryChoice)
	if err != nil {
		return err
	}
	closeAtEnd := func(part io.Closer) { err = errors.Join(err, part.Close()) }

	out.text("Making a token, keys and certificates; the first time, building notation too.")
	w, err := newWorld()
	if err != nil {
		return err
	}
	defer closeAtEnd(w)
	session := &session{out: out, notation: w.notation, env: w.hsm.Env()}

	out.heading("A token with two keys")
	w.describe(out)
	out.heading("Install the plugin, name the keys, trust the root")
	if err := prepare(ctx, session, w, plugin); err != nil {
		return err
	}
	for _, kind := range kinds {
		registry, err := kind.start()
		if err != nil {
			return err
		}
		defer closeAtEnd(registry)
		if err := signAndVerify(ctx, session, registry, kind); err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	out.heading("Done")
	out.text("Both registries hold a COSE and a JWS signature, made by keys that never left the token.")
	return nil
}

// registryKind is a kind of registry to sign on.
type registryKind struct {
	name  string
	start func() (*testenv.Registry, error)
}

// registryKinds are a registry with the Referrers API and one without.
func registryKinds(choice string) ([]registryKind, error) {
	withAPI := registryKind{"A registry with the Referrers API", testenv.NewRegistry}
	switch choice {
	case "":
		return []registryKind{withAPI, {"A registry without the Referrers API", testenv.NewTagSchemaRegistry}}, nil
	case "registry2":
		return []registryKind{withAPI, {"docker-registry, which has no Referrers API", testenv.NewDockerRegistry}}, nil
	}
	return nil, fmt.Errorf("DEMO_REGISTRY is %q: want registry2 or nothing", choice)
}
