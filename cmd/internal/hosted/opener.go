// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"syscall"

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

// Config finds the module and opens the log that the settings name.
func Config(s plugin.Settings) (host.Config, error) {
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
	return host.Config{
		Module:       module,
		InitArgs:     s.InitArgs,
		URI:          s.URI,
		UserType:     s.UserType,
		PIN:          s.PIN,
		Certificates: s.Certificates,
		PublicOnly:   s.PublicOnly,
		SecretEnv:    s.SecretEnv,
		Log:          log,
	}, nil
}

// openLog opens the debug log, which ends with the process. A pipe could block
// for ever, and a stream of the protocol would be spoilt.
func openLog(path string) (*slog.Logger, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", path)
		}
	}
	if err != nil {
		return nil, &pkcs11.Error{Kind: pkcs11.KindConfig, Message: fmt.Sprintf("the debug log can't be opened: %v", err)}
	}
	log := slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return log.With("process", os.Getpid()), nil
}
