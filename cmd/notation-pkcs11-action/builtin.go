// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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
	pool *pool
}

func newBuiltIn(o action.BuiltInOptions) action.BuiltIn {
	keys := newPool(hosted.Opener{Sessions: o.Sessions})
	p := &plugin.Plugin{Version: version, Opener: keys, Agent: agent.Client{}, Prompt: prompt(), Getenv: o.Getenv}
	if pin := o.PIN; !pin.Empty() {
		p.PIN, p.GivenBy = func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
			return pkcs11.NewPIN([]byte(pin.Reveal())), nil
		}, "the input pin"
	}
	return &builtIn{p, keys}
}

// prompt asks a person for the PIN, where there is one: a runner has a terminal
// at times, with nobody in front of it.
func prompt() pkcs11.PINFunc {
	if os.Getenv("CI") == "" {
		return hosted.PromptPIN
	}
	return func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.PIN{}, &pkcs11.Error{Kind: pkcs11.KindNoPIN, Message: "none is configured, and the input pin is empty, as is a secret that the job can't see"}
	}
}

// Check implements action.BuiltIn. The module is looked for, but not loaded.
func (b *builtIn) Check(keyID string, config map[string]string) error {
	settings, err := b.Settings(keyID, config)
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
	return plugin.SecretVariables(keyID, config, b.Getenv)
}

// Close implements action.BuiltIn.
func (b *builtIn) Close() error { return b.pool.Close() }
