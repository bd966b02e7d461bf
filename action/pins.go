// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"net/url"
	"strings"
)

// variablePIN is where the built-in plugin reads the PIN.
const variablePIN = "NOTATION_PKCS11_PIN"

// heldPINs are the PINs of the built-in plugin, by the names of the environment
// variables that it reads them from.
type heldPINs map[string]secret

// holdPINs reads those that a key needs and takes them out of the environment, where
// credential helpers and other people's plugins would get them.
func (a *Action) holdPINs(in inputs, key chosenKey) (heldPINs, error) {
	names := []string{variablePIN}
	if key.plugin == builtInPlugin {
		for _, source := range []string{pinSourceOf(key.id), key.config["pin_source"], a.Getenv("NOTATION_PKCS11_PIN_SOURCE")} {
			if name, ok := strings.CutPrefix(source, "env:"); ok {
				names = append(names, name)
			}
		}
	}
	held := heldPINs{}
	var errs []error
	for _, name := range names {
		if value := a.Getenv(name); value != "" {
			held[name] = newSecret(value)
			errs = append(errs, a.Unsetenv(name))
		}
	}
	if !in.pin.empty() {
		held[variablePIN] = in.pin
	}
	return held, errors.Join(errs...)
}

// pinSourceOf returns the pin-source of a PKCS#11 URI, which may have escapes in
// it.
func pinSourceOf(keyID string) string {
	_, query, _ := strings.Cut(keyID, "?")
	for attribute := range strings.SplitSeq(query, "&") {
		if escaped, ok := strings.CutPrefix(attribute, "pin-source="); ok {
			source, _ := url.PathUnescape(escaped) // the plugin refuses the URI
			return source
		}
	}
	return ""
}

// getenv is the environment as the built-in plugin sees it.
func (h heldPINs) getenv(environment func(string) string) func(string) string {
	return func(name string) string {
		if pin, ok := h[name]; ok {
			return pin.reveal()
		}
		return environment(name)
	}
}

// reveal returns the PINs.
func (h heldPINs) reveal() []string {
	var pins []string
	for _, pin := range h {
		pins = append(pins, pin.reveal())
	}
	return pins
}
