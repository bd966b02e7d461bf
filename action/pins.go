// SPDX-License-Identifier: Apache-2.0

package action

import (
	"errors"

	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
)

// heldPINs are the PINs of the built-in plugin, by the names of the environment
// variables that it reads them from.
type heldPINs map[string]registry.Secret

// holdPINs makes the built-in plugin, and takes the variables that may hold secrets
// of the key out of the environment, where credential helpers and other people's
// plugins would get them. From then on the built-in plugin alone has them.
func (a *Action) holdPINs(in inputs, key chosenKey) (BuiltIn, heldPINs, error) {
	held := heldPINs{}
	builtIn := a.BuiltIn(BuiltInOptions{held.getenv(a.Getenv), in.pin, in.sessions})
	var errs []error
	id, config := key.ofBuiltIn()
	for _, name := range builtIn.SecretVariables(id, config) {
		if value := a.Getenv(name); value != "" {
			held[name] = registry.NewSecret(value)
			errs = append(errs, a.Unsetenv(name))
		}
	}
	return builtIn, held, errors.Join(errs...)
}

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
