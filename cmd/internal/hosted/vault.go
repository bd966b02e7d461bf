// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"
	"reflect"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
	"github.com/notation-pkcs11/notation-pkcs11/plugin/agent"
)

// Vault opens the keys of one token in one module host at a time. It implements
// agent.Vault.
type Vault struct {
	settings plugin.Settings // of the first key
	config   host.Config
	others   []pkcs11.URI // of the keys that were admitted
	first    *host.Key    // of the last opening
}

// NewVault looks for the module of the settings' key. sessions bounds how many
// signatures the token makes at once.
func NewVault(s plugin.Settings, sessions int) (*Vault, error) {
	config, err := Config(s)
	if err != nil {
		return nil, err
	}
	config.Sessions, config.Describe = sessions, true
	return &Vault{settings: s, config: config}, nil
}

// Open implements agent.Vault.
func (v *Vault) Open(ctx context.Context, pin pkcs11.PINFunc) ([]agent.Key, error) {
	config := v.config
	config.PIN = pin
	proxy := WatchProxy(ctx, v.settings, &config)
	defer proxy.Stop()
	first, err := host.Open(ctx, config)
	if err != nil {
		return nil, proxy.Explain(err)
	}
	keys := []agent.Key{first}
	for _, uri := range v.others {
		sibling, err := first.Sibling(ctx, uri)
		if err != nil {
			first.Close()
			return nil, err
		}
		keys = append(keys, sibling)
	}
	v.first = first
	return keys, nil
}

// Admit implements agent.Vault.
func (v *Vault) Admit(ctx context.Context, s plugin.Settings) (agent.Key, error) {
	config, err := Config(s)
	if err != nil {
		return nil, err
	}
	ofKey := []string{pkcs11.AttrObject, pkcs11.AttrID, pkcs11.AttrType}
	if !isSameModule(config, v.config) || !s.URI.Without(ofKey...).Selects(v.first.Shown().Without(ofKey...)) {
		return nil, nil
	}
	sibling, err := v.first.Sibling(ctx, s.URI)
	if err != nil {
		return nil, err
	}
	v.others = append(v.others, s.URI)
	return sibling, nil
}

// isSameModule reports whether two keys can have one module host.
func isSameModule(a, b host.Config) bool {
	return a.Module == b.Module && a.InitArgs == b.InitArgs && a.UserType == b.UserType &&
		a.MayGainPrivileges == b.MayGainPrivileges && reflect.DeepEqual(a.Sandbox, b.Sandbox)
}
