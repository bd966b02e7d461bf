// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Opener opens the plugin's keys in module hosts.
type Opener struct {
	// Sessions bounds how many signatures a key makes at once. Zero: one.
	Sessions int
}

// Open implements plugin.Opener.
func (o Opener) Open(ctx context.Context, s plugin.Settings) (plugin.Key, error) {
	config, err := Config(s)
	if err != nil {
		return nil, err
	}
	config.Sessions = o.Sessions
	proxy := WatchProxy(ctx, s, &config)
	defer proxy.Stop()
	key, err := host.Open(ctx, config)
	if err != nil {
		return nil, proxy.Explain(err) // not a nil *host.Key in a plugin.Key
	}
	return key, nil
}

// Config finds the module and opens the logs that the settings name. From then on
// the variables that the settings name as secrets are not in the environment that
// other processes may see.
func Config(s plugin.Settings) (host.Config, error) {
	host.EraseEnv(s.SecretEnv...)
	module := s.Module
	if module == "" {
		name, _ := s.URI.Value(pkcs11.AttrModuleName)
		var err error
		if module, err = pkcs11.FindModule(name); err != nil {
			return host.Config{}, err
		}
	}
	log, err := openLog(s.Log)
	if err != nil {
		return host.Config{}, err
	}
	moduleLog, err := openModuleLog(s.ModuleLog)
	if err != nil {
		return host.Config{}, err
	}
	if log != nil {
		for _, warning := range s.Warnings(module) {
			log.Warn(warning)
		}
	}
	return host.Config{
		Module:            module,
		InitArgs:          s.InitArgs,
		URI:               s.URI,
		UserType:          s.UserType,
		PIN:               s.PIN,
		AskEachTime:       s.AskEachTime,
		Certificates:      s.Certificates,
		PublicOnly:        s.PublicOnly,
		Describe:          s.AuditLog != "", // which holds the token's serial number
		SecretEnv:         s.SecretEnv,
		Sandbox:           s.Sandbox,
		MayGainPrivileges: s.MayGainPrivileges,
		Log:               log,
		ModuleLog:         moduleLog,
	}, nil
}
