// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go"
	"github.com/notaryproject/notation-go/config"
	"github.com/notaryproject/notation-go/dir"
	notationsigner "github.com/notaryproject/notation-go/signer"
	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// Key is a key that signs by itself or through a plugin. It is safe for concurrent
// use.
type Key interface {
	// signer returns one for a single signature: notation-go's keeps what a
	// plugin answered.
	signer() (notation.Signer, error)
}

// pluginKey is a key of a plugin.
type pluginKey struct {
	plugin *oncePlugin
	id     string
	config map[string]string
}

// NewPluginKey returns a plugin's key, by the id and the config that the plugin
// understands. The plugin is called from several goroutines.
func NewPluginKey(plugin contract.SignPlugin, id string, config map[string]string) Key {
	return pluginKey{newOncePlugin(plugin), id, config}
}

func (k pluginKey) signer() (notation.Signer, error) {
	return notationsigner.NewPluginSigner(k.plugin, k.id, k.config)
}

// fileKey is a key in a file.
type fileKey struct{ shared *notationsigner.GenericSigner }

func (k fileKey) signer() (notation.Signer, error) { return k.shared, nil }

// OpenFileKey reads a key and its certificate chain from files with PEM. A key that
// every user of the machine can read is no secret, so signatures by it would mean
// nothing: it is refused.
func OpenFileKey(files *config.X509KeyPair) (Key, error) {
	chain, err := trustedfile.ReadNamed(files.CertificatePath, trustedfile.Public, maxKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := trustedfile.ReadNamed(files.KeyPath, trustedfile.Secret, maxKeyFile)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	certs := make([]*x509.Certificate, len(pair.Certificate))
	for i, der := range pair.Certificate {
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, err
		}
	}
	shared, err := notationsigner.NewGenericSigner(pair.PrivateKey, certs)
	if err != nil {
		return nil, err
	}
	return fileKey{shared}, nil
}

// maxKeyFile is far more than a private key or a chain has.
const maxKeyFile = 1 << 20

// maxSigningKeys is far more than notation's signingkeys.json has.
const maxSigningKeys = 1 << 20

// NamedKey reads the entry of a key in notation's signingkeys.json.
func NamedKey(notationDir, name string) (config.KeySuite, error) {
	path := filepath.Join(notationDir, dir.PathSigningKeys)
	content, err := trustedfile.ReadNamed(path, trustedfile.Public, maxSigningKeys)
	if err != nil {
		return config.KeySuite{}, fmt.Errorf("key_name: notation's signing keys: %w", err)
	}
	var keys config.SigningKeys
	if err := json.Unmarshal(content, &keys); err != nil {
		return config.KeySuite{}, fmt.Errorf("key_name: %s: %w", path, err)
	}
	if err := checkSigningKeys(keys); err != nil {
		return config.KeySuite{}, fmt.Errorf("key_name: %s: %w", path, err)
	}
	i := slices.IndexFunc(keys.Keys, func(k config.KeySuite) bool { return k.Name == name })
	if i < 0 {
		var names []string
		for _, k := range keys.Keys {
			names = append(names, report.Quote(k.Name))
		}
		return config.KeySuite{}, fmt.Errorf("key_name: there is no key %s in %s; there are: %s", report.Quote(name), path, strings.Join(names, ", "))
	}
	key := keys.Keys[i]
	if key.ExternalKey == nil && key.X509KeyPair == nil {
		return config.KeySuite{}, fmt.Errorf("key_name: key %s in %s has neither files nor a plugin", report.Quote(name), path)
	}
	return key, nil
}

// checkSigningKeys refuses what notation refuses: with two keys of a name, the
// wrong one could sign.
func checkSigningKeys(keys config.SigningKeys) error {
	names := map[string]bool{}
	for _, key := range keys.Keys {
		if key.Name == "" {
			return errors.New("a key has no name")
		}
		if names[key.Name] {
			return fmt.Errorf("there are several keys %s; rename one", report.Quote(key.Name))
		}
		names[key.Name] = true
	}
	if keys.Default != nil && !names[*keys.Default] {
		return fmt.Errorf("the default is %s, and there is no such key", report.Quote(*keys.Default))
	}
	return nil
}
