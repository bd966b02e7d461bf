// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"
	"fmt"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// variablePIN is where the built-in plugin reads the PIN of the input pin.
const variablePIN = "NOTATION_PKCS11_PIN"

// heldPINs are the PINs of the built-in plugin, by the names of the environment
// variables that it reads them from.
type heldPINs map[string]registry.Secret

// holdPINs makes the built-in plugin, and takes the variables that may hold secrets
// of the key out of the environment, where credential helpers and other people's
// plugins would get them. From then on the built-in plugin alone has them.
func (a *Action) holdPINs(in inputs, key chosenKey) (BuiltIn, heldPINs, error) {
	held := heldPINs{}
	builtIn := a.BuiltIn(held.getenv(a.Getenv), in.sessions)
	var errs []error
	id, config := key.ofBuiltIn()
	for _, name := range builtIn.SecretVariables(id, config) {
		if value := a.Getenv(name); value != "" {
			held[name] = registry.NewSecret(value)
			errs = append(errs, a.Unsetenv(name))
		}
	}
	if !in.pin.Empty() {
		held[variablePIN] = in.pin
	}
	return builtIn, held, errors.Join(errs...)
}

// pinSource is where a key's PIN comes from, as this program knows it. The zero
// pinSource is what the plugin's errors say.
type pinSource struct{ input, none bool }

func (h heldPINs) source(in inputs) pinSource {
	return pinSource{input: !in.pin.Empty(), none: len(h) == 0}
}

// explain has the error of a plugin that refused the key name the input, where the
// plugin knows its variable alone, and say that there is no PIN.
func (s pinSource) explain(err error) error {
	switch {
	case s.input:
		return pinError{err, strings.ReplaceAll(err.Error(), "the environment variable "+variablePIN, "the input pin")}
	case s.none:
		return fmt.Errorf("%w; the input pin and %s are empty or not set (a secret that the job can't see is empty)", err, variablePIN)
	}
	return err
}

// pinError is an error in other words.
type pinError struct {
	error
	text string
}

func (e pinError) Error() string { return e.text }

func (e pinError) Unwrap() error { return e.error }

// getenv is the environment as the built-in plugin sees it.
func (h heldPINs) getenv(environment func(string) string) func(string) string {
	return func(name string) string {
		if pin, ok := h[name]; ok {
			return pin.Reveal()
		}
		return environment(name)
	}
}

// reveal returns the PINs.
func (h heldPINs) reveal() []string {
	var pins []string
	for _, pin := range h {
		pins = append(pins, pin.Reveal())
	}
	return pins
}
