// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// envFile is what a shell reads to be in the lab.
const envFile = "env"

// firstTime is why a reader may have to wait.
const firstTime = "The first run builds notation, which takes minutes."

// keep makes the world that the demo ends with, but for the signatures, says how
// to get there, and keeps it until ctx ends.
func keep(ctx context.Context, out *terminal, plugin, registryChoice string) (err error) {
	kinds, err := registryKinds(registryChoice)
	if err != nil {
		return err
	}
	defer func() {
		if err == nil { // and all else is closed
			out.text("\nThe lab is deleted.")
		}
	}()
	closeAtEnd := func(part io.Closer) { err = errors.Join(err, part.Close()) }

	out.text("Creating a token, keys, certificates and registries. " + firstTime)
	w, err := newWorld(plugin)
	if err != nil {
		return err
	}
	defer closeAtEnd(w)
	quiet := &session{world: w, out: &terminal{w: io.Discard}}
	if err := quiet.makeKeys(ctx); err != nil {
		return err
	}
	if err := quiet.configure(ctx); err != nil {
		return err
	}
	exports := append(w.configuration(), w.exports()...)
	for i, name := range []string{"IMAGE", "TAG_SCHEMA_IMAGE"} { // in the order of the kinds
		registry, err := kinds[i].start()
		if err != nil {
			return err
		}
		defer closeAtEnd(registry)
		image, err := registry.PushImage(ctx, imageRepository, imageTag)
		if err != nil {
			return err
		}
		exports = append(exports, fmt.Sprintf("%s=%s/%s@%s", name, registry.Host, imageRepository, image.Digest))
	}
	return stay(ctx, out, w, exports)
}

// stay says what to export, and waits.
func stay(ctx context.Context, out *terminal, w *world, exports []string) error {
	var script strings.Builder
	fmt.Fprintf(&script, "export PATH=%s:\"$PATH\"\n", quote(w.bin()))
	for _, variable := range exports {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&script, "export %s=%s\n", name, quote(value))
	}
	if err := w.write(map[string][]byte{envFile: []byte(script.String())}); err != nil {
		return err
	}
	out.heading("The lab is ready")
	out.text("In another terminal, run this. It exports the variables below.")
	out.command(".", w.path(envFile))
	out.text("")
	out.output(script.String())
	out.text("\nThe token " + tokenLabel + " has the keys " + onTokenKey + " and " + inFileKey + ". notation has both in its key list, and trusts")
	out.text("the lab's root certificate. IMAGE is in a registry with the Referrers API, TAG_SCHEMA_IMAGE in one")
	out.text("without it. For example:\n")
	out.output("$ notation-pkcs11 check " + quote(w.keyID(onTokenKey)))
	out.output("$ notation sign --key " + onTokenKey + ` --force-referrers-tag=false "$IMAGE"`)
	out.output(`$ notation verify "$IMAGE"`)
	out.text("\nFor IMAGE, always use --force-referrers-tag=false. Otherwise, notation writes a referrers index, after")
	out.text("which this registry (olareg) lists no signatures.")
	if err := sayInstalled(out); err != nil {
		return err
	}
	out.text("\nTo end the lab, press Ctrl-C here. That deletes all of it. Then close the other terminal: its variables")
	out.text("lead nowhere.")
	<-ctx.Done()
	return nil
}
