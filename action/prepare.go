// SPDX-License-Identifier: Apache-2.0

package action

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"

	pluginmanager "github.com/notaryproject/notation-go/plugin"

	"github.com/notaryproject/notation-go/dir"
	"github.com/notaryproject/notation-go/verifier/truststore"
	orasregistry "oras.land/oras-go/v2/registry"

	"github.com/notation-pkcs11/notation-pkcs11/action/layout"
	"github.com/notation-pkcs11/notation-pkcs11/action/pluginprogram"
	"github.com/notation-pkcs11/notation-pkcs11/action/publish"
	"github.com/notation-pkcs11/notation-pkcs11/action/registry"
	"github.com/notation-pkcs11/notation-pkcs11/action/report"
	"github.com/notation-pkcs11/notation-pkcs11/action/revocation"
	"github.com/notation-pkcs11/notation-pkcs11/action/sign"
	"github.com/notation-pkcs11/notation-pkcs11/action/verify"
)

// preparation is a run that is checked and has not begun: no request was sent,
// no token was touched. Close it when done.
type preparation struct {
	inputs       inputs
	chosen       chosenKey
	action       *Action
	folder       string        // the run's own directory, which goes with it
	trust        *verify.Trust // nil in modes that don't verify
	timestamping *sign.Timestamping
	authorities  []*x509.Certificate // roots of timestamping authorities
	lists        revocation.Lists    // CRLs at hand
	builtIn      BuiltIn
	key          func(ctx context.Context) (sign.Key, error) // nil in modes that don't sign
	warnings     []string

	attachments []*registry.Attachment

	targets map[string]*layout.Store  // layouts that targets are in, by cleaned path
	layouts map[string]*layout.Layout // by path
	sources map[string]plannedSource  // those that are layouts, as the user wrote them
}

// prepare checks what can be checked before the first request. Its errors are mistakes in the
// inputs.
func (a *Action) prepare(ctx context.Context, in inputs, key chosenKey, builtIn BuiltIn) (_ *preparation, err error) {
	p := &preparation{
		inputs: in, chosen: key, action: a, builtIn: builtIn,
		targets: map[string]*layout.Store{}, layouts: map[string]*layout.Layout{}, sources: map[string]plannedSource{},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.folder, err = os.MkdirTemp(a.Getenv("RUNNER_TEMP"), Name+"-"); err != nil {
		return nil, fmt.Errorf("the run's own directory: %w", err)
	}
	var faults []error
	for _, check := range []func(context.Context) error{p.prepareRegistries, p.prepareLayouts, p.prepareSources, p.prepareAttachments, p.prepareTrust, p.prepareLists, p.prepareTimestamping, p.prepareKey} {
		if err := check(ctx); err != nil {
			faults = append(faults, err)
		}
	}
	return p, errors.Join(faults...)
}

// close gives back what the run had.
func (p *preparation) close() error {
	err := p.builtIn.Close()
	for _, opened := range p.layouts {
		err = errors.Join(err, opened.Close())
	}
	for _, opened := range p.targets {
		err = errors.Join(err, opened.Close())
	}
	if p.folder != "" {
		err = errors.Join(err, os.RemoveAll(p.folder))
	}
	return err
}

func (p *preparation) registryOptions() registry.Options {
	layouts := map[string]registry.Layout{}
	for path, opened := range p.targets {
		layouts[path] = opened
	}
	return registry.Options{
		Username:     p.inputs.registryUsername,
		Password:     p.inputs.registryPassword,
		Insecure:     p.inputs.insecureRegistries,
		TokenServers: p.inputs.tokenServers,
		Connections:  p.inputs.concurrency,
		Signing:      p.inputs.mode.signs(),
		Layouts:      layouts,
		UserAgent:    Name + "/" + p.action.Version,
	}
}

func (p *preparation) prepareRegistries(context.Context) error {
	var artifacts []string
	locations, err := p.inputs.locations()
	for _, l := range locations {
		if l.Layout == "" {
			artifacts = append(artifacts, l.String())
		}
	}
	sources := p.registryOptions()
	sources.Username, sources.LoginInputs = p.inputs.sourceUsername, sourceLogin
	return errors.Join(err, p.registryOptions().Check(artifacts), sources.Check(p.inputs.sourceReferences()))
}

func (p *preparation) prepareTrust(context.Context) (err error) {
	if !p.inputs.mode.verifies() {
		return nil
	}
	p.trust, err = verify.LoadTrust(verify.TrustOptions{
		Policy:        p.inputs.trustPolicy,
		Store:         p.inputs.trustStore,
		Certificates:  p.inputs.trustedCertificates,
		Identities:    p.inputs.trustedIdentities,
		Level:         p.inputs.verificationLevel,
		TimestampRoot: p.inputs.timestampRootCert,
		NotationDir:   p.action.notationDir(),
	})
	if err != nil {
		return err
	}
	p.warnings = append(p.warnings, p.trust.Warnings...)
	var faults []error
	locations, err := p.inputs.locations()
	faults = append(faults, err)
	scopes := map[orasregistry.Reference]bool{}
	for _, l := range locations {
		scope := p.inputs.scopeAt(l)
		if scopes[scope] {
			continue
		}
		scopes[scope] = true
		faults = append(faults, p.trust.Check(scope))
		if p.inputs.mode == modePromote {
			faults = append(faults, p.trust.CheckPromotion(scope))
		}
	}
	return errors.Join(faults...)
}

func (p *preparation) prepareLists(context.Context) error {
	lists, warnings, err := verify.ReadLists(p.inputs.crlFiles)
	p.lists = lists
	p.warnings = append(p.warnings, warnings...)
	return err
}

func (p *preparation) prepareTimestamping(context.Context) (err error) {
	if !p.inputs.mode.signs() || p.inputs.timestampURL == "" {
		return nil
	}
	p.authorities, err = verify.ReadCertificates("timestamp_root_cert", p.inputs.timestampRootCert, truststore.TypeTSA)
	if err != nil {
		return err
	}
	p.timestamping, err = sign.NewTimestamping(p.inputs.timestampURL, p.authorities, http.DefaultTransport)
	return err
}

// prepareKey finds the key's plugin or files. A plugin that is to be fetched is
// fetched when the run begins.
func (p *preparation) prepareKey(ctx context.Context) error {
	in := &p.inputs
	switch {
	case !in.mode.signs():
		return nil
	case p.chosen.err != nil:
		return p.chosen.err
	case in.auditLog != "" && p.chosen.plugin != builtInPlugin:
		return fmt.Errorf("audit_log is for keys of the built-in plugin %s, and key %s is another plugin's or a file; remove audit_log, or use another key", builtInPlugin, report.Quote(in.keyName))
	case p.chosen.files != nil:
		key, err := sign.OpenFileKey(p.chosen.files)
		if err != nil {
			return fmt.Errorf("key_name: key %s: %w", report.Quote(in.keyName), err)
		}
		p.setKey(key)
		return nil
	case in.pluginURL != "":
		source := sign.PluginSource{Name: in.pluginName, URL: in.pluginURL, Checksum: in.pluginChecksum}
		p.key = func(ctx context.Context) (sign.Key, error) {
			plugin, err := source.Fetch(ctx, http.DefaultTransport, p.folder)
			if err != nil {
				return nil, err
			}
			return sign.NewPluginKey(plugin, in.keyID, in.pluginConfig), nil
		}
		return nil
	default:
		return p.preparePluginKey(ctx, p.chosen.plugin, p.chosen.id, p.chosen.config)
	}
}

func (p *preparation) preparePluginKey(ctx context.Context, name, id string, config map[string]string) error {
	if name == builtInPlugin {
		return p.prepareBuiltIn(id, config)
	}
	if p.inputs.hasTokenInputs() {
		return fmt.Errorf("pin, module and cert_chain are for the built-in plugin %s, and this key's plugin is %s; configure it with plugin_config", builtInPlugin, report.Quote(name))
	}
	folder := p.pluginFolder()
	if folder == "" {
		return fmt.Errorf("plugin_name: %w", verify.ErrNoNotationDir)
	}
	plugin, err := sign.InstalledPlugin(ctx, folder, name)
	if err != nil {
		return err
	}
	p.setKey(sign.NewPluginKey(plugin, id, config))
	return nil
}

// prepareBuiltIn gives the built-in plugin the inputs that are for it: by its
// config, but the PIN by an environment variable of its own.
func (p *preparation) prepareBuiltIn(id string, config map[string]string) error {
	config, err := p.tokenConfig(config)
	if err != nil {
		return err
	}
	if err := p.builtIn.Check(id, config); err != nil {
		return fmt.Errorf("the key: %w", sign.UnwrapPluginError(err))
	}
	p.setKey(sign.NewPluginKey(p.builtIn, id, config))
	return nil
}

// tokenConfig adds module, cert_chain and audit_log to the built-in plugin's config.
func (p *preparation) tokenConfig(config map[string]string) (map[string]string, error) {
	if has(config, "pin_source") && !p.inputs.pin.Empty() {
		return nil, fmt.Errorf("pin is set, and the plugin config of key %s has a pin_source; set only one", report.Quote(p.inputs.keyName))
	}
	all := maps.Clone(config)
	if all == nil {
		all = map[string]string{}
	}
	if p.inputs.module != "" {
		all["module"] = p.inputs.module
	}
	if p.inputs.auditLog != "" {
		all["audit_log"] = p.inputs.auditLog
	}
	if chain := p.inputs.certChain; verify.IsPEM(chain) {
		file := filepath.Join(p.folder, "cert_chain.pem")
		if err := os.WriteFile(file, []byte(chain), 0o600); err != nil {
			return nil, fmt.Errorf("cert_chain: %w", err)
		}
		all["cert_chain"] = file
	} else if chain != "" {
		all["cert_chain"] = chain
	}
	return all, nil
}

func (p *preparation) setKey(key sign.Key) {
	p.key = func(context.Context) (sign.Key, error) { return key, nil }
}

// pluginFolder is where notation's plugins are. It is empty where there is none.
func (p *preparation) pluginFolder() string {
	folder := cmp.Or(p.action.Getenv("NOTATION_LIBEXEC"), p.action.notationDir())
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, dir.PathPlugins)
}

// verificationPlugins are those that signatures may ask for, nil where there are none.
func (p *preparation) verificationPlugins() pluginmanager.Manager {
	folder := p.pluginFolder()
	if folder == "" {
		return nil
	}
	return pluginprogram.Installed(folder)
}

// start makes the run. From here on requests are sent.
func (p *preparation) start(ctx context.Context, progress func(stage string, done, all int)) (*run, error) {
	in := p.inputs
	r := &run{
		inputs: in, registries: registry.New(p.registryOptions()), trust: p.trust, progress: progress,
		sources: p.sources, attachments: p.attachments,
	}
	r.sourceClient = p.sourceClient(r.registries)
	pusher := publish.New(publish.Options{Mode: in.referrersTag, Journal: p.action.journalDir(), Limit: p.action.listingLimit})
	r.pusher, r.copier = pusher, publish.NewCopier(pusher, in.concurrency)
	if in.mode.signs() {
		key, err := p.key(ctx)
		if err != nil {
			return nil, err
		}
		if r.strict, err = verify.NewStrict(p.authorities, http.DefaultTransport, p.lists); err != nil {
			return nil, err
		}
		r.signer = &sign.Signer{
			Key:          key,
			EnvelopeType: in.envelopeType,
			UserMetadata: in.userMetadata,
			Expiry:       in.expiry,
			Timestamping: p.timestamping,
			RenewWithin:  in.renewWithin,
			Validity:     r.strict.Validity,
		}
	}
	if in.mode.verifies() {
		var err error
		r.verifier, err = verify.New(p.trust, r.registries, verify.Options{
			MaxSignatures: in.maxSignatures,
			Concurrency:   in.concurrency,
			UserMetadata:  in.userMetadata,
			PluginConfig:  in.pluginConfig,
			Plugins:       p.verificationPlugins(),
			Transport:     http.DefaultTransport,
			Lists:         p.lists,
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}
