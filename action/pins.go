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

// pinSource is where a key's PIN comes from, as errors have it. Empty: the plugin's
// errors say it, as of a variable that a key's own pin_source names.
type pinSource string

// noPIN is the source of a PIN that is given nowhere.
const noPIN = "nowhere: the input pin and " + variablePIN + " are empty or not set (a secret that the job can't see is empty)"

func (h heldPINs) source(in inputs) pinSource {
	switch _, variable := h[variablePIN]; {
	case !in.pin.Empty():
		return "the input pin"
	case variable:
		return "the environment variable " + variablePIN
	case len(h) == 0:
		return noPIN
	}
	return ""
}

// explain adds the source to the error of a plugin that refused the key. The built-in
// plugin names the variable also where its value is the input's.
func (s pinSource) explain(err error) error {
	const variable = "the environment variable " + variablePIN
	switch {
	case s == "":
		return err
	case strings.Contains(err.Error(), variable):
		return pinError{err, strings.ReplaceAll(err.Error(), variable, string(s))}
	}
	return fmt.Errorf("%w; the PIN comes from %s", err, s)
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
