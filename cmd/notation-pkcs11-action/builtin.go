// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"github.com/notation-pkcs11/notation-pkcs11/action"
	"github.com/notation-pkcs11/notation-pkcs11/cmd/internal/hosted"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// builtIn is the plugin pkcs11 without a process between, and with its keys kept
// open.
type builtIn struct {
	*plugin.Plugin
	pool   *pool
	getenv func(string) string
}

func newBuiltIn(getenv func(string) string, sessions int) action.BuiltIn {
	keys := newPool(hosted.Opener{Sessions: sessions})
	p := &plugin.Plugin{Version: version, Opener: keys, Agent: agent.Client{}, Prompt: prompt(), Getenv: getenv}
	return &builtIn{p, keys, getenv}
}

// prompt asks a person for the PIN, where there is one: a runner has a terminal
// at times, with nobody in front of it.
func prompt() pkcs11.PINFunc {
	if os.Getenv("CI") != "" {
		return nil
	}
	return hosted.PromptPIN
}

// Check implements action.BuiltIn. The module is looked for, but not loaded.
func (b *builtIn) Check(keyID string, config map[string]string) error {
	settings, err := plugin.ParseSettings(keyID, config, b.getenv, nil)
	if err != nil {
		return err
	}
	if err := b.CheckAuditLog(settings); err != nil {
		return err
	}
	if settings.Agent != "" { // which has the module
		return nil
	}
	c, err := hosted.Config(settings)
	if err != nil {
		return err
	}
	return pkcs11.CheckModule(c.Module)
}

// SecretVariables implements action.BuiltIn.
func (b *builtIn) SecretVariables(keyID string, config map[string]string) []string {
	return plugin.SecretVariables(keyID, config, b.getenv)
}

// Close implements action.BuiltIn.
func (b *builtIn) Close() error { return b.pool.Close() }
