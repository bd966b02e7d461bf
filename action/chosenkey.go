// SPDX-License-Identifier: Apache-2.0

package action

import (
	"fmt"
	"maps"

	"github.com/notaryproject/notation-go/config"

	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
	"github.com/notation-pkcs11/notation-pkcs11/action/verify"
)

// chosenKey is the key that the inputs mean: one of a plugin, or one in files.
type chosenKey struct {
	files  *config.X509KeyPair // nil: a plugin's
	plugin string
	id     string
	config map[string]string
	err    error // why it can't be told
}

// ofBuiltIn returns the key id and config of a key of the built-in plugin. Of
// another key it returns none.
func (k chosenKey) ofBuiltIn() (id string, config map[string]string) {
	if k.plugin != builtInPlugin {
		return "", nil
	}
	return k.id, k.config
}

// chooseKey looks up which key the inputs mean. What they say of a plugin's config
// goes before what notation's signingkeys.json says.
func (a *Action) chooseKey(in inputs) chosenKey {
	if in.keyName == "" {
		return chosenKey{plugin: in.pluginName, id: in.keyID, config: in.pluginConfig}
	}
	folder := a.notationDir()
	if folder == "" {
		return chosenKey{err: fmt.Errorf("key_name: %w", verify.ErrNoNotationDir)}
	}
	entry, err := sign.NamedKey(folder, in.keyName)
	if err != nil {
		return chosenKey{err: err}
	}
	if entry.X509KeyPair != nil {
		return chosenKey{files: entry.X509KeyPair}
	}
	merged := map[string]string{}
	maps.Copy(merged, entry.PluginConfig)
	maps.Copy(merged, in.pluginConfig)
	return chosenKey{plugin: entry.PluginName, id: entry.ID, config: merged}
}
