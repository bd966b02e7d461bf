// SPDX-License-Identifier: Apache-2.0

package hosted

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Proxy explains failures of p11-kit's proxy, which is used where no module is set
// and shows the tokens of all that are registered: one module that hangs keeps all
// from being used, and looks like an HSM that doesn't answer. Its methods can be
// called on nil, for a module that was set.
type Proxy struct {
	config  host.Config
	modules []string
	ctx     context.Context // of the look at the modules
	end     context.CancelFunc
	timer   *time.Timer

	once  sync.Once
	found []string // of each module, a clause
}

// WatchProxy returns nil where the settings name a module. Otherwise it is told of
// errors by Explain, and to stop by Stop, at the latest when the PIN is asked for,
// which is a sign that the proxy answers. It looks at the modules in time for the
// deadline of ctx: where half of the time has passed without a sign, one by one,
// each in a process of its own, without a login.
func WatchProxy(ctx context.Context, s plugin.Settings, config *host.Config) *Proxy {
	if _, named := s.URI.Value(pkcs11.AttrModuleName); named || s.Module != "" {
		return nil
	}
	p := &Proxy{config: *config, modules: pkcs11.RegisteredModules(), timer: time.NewTimer(time.Hour)}
	p.timer.Stop()
	p.config.PIN = nil
	if deadline, limited := ctx.Deadline(); limited {
		rest := time.Until(deadline)
		p.ctx, p.end = context.WithDeadline(ctx, deadline.Add(-rest/8))
		p.timer = time.AfterFunc(rest/2, p.look)
	} else {
		p.ctx, p.end = context.WithCancel(ctx)
	}
	if ask := config.PIN; ask != nil {
		config.PIN = func(ctx context.Context, token pkcs11.TokenInfo) (pkcs11.PIN, error) {
			p.timer.Stop()
			return ask(ctx, token)
		}
	}
	return p
}

// String says, as a clause, that the proxy is used, and what it loads.
func (p *Proxy) String() string {
	if p == nil {
		return ""
	}
	if len(p.modules) == 0 {
		return "no module is set, so p11-kit's proxy is used, with which none is registered"
	}
	return "no module is set, so p11-kit's proxy is used, which loads " + strings.Join(p.modules, ", ")
}

// Stop ends the watch.
func (p *Proxy) Stop() {
	if p != nil {
		p.timer.Stop()
		p.end()
	}
}

// Explain adds to an error that no module was set, where that can be the reason,
// and does what Blame does.
func (p *Proxy) Explain(err error) error {
	var e *pkcs11.Error
	if p == nil || !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case pkcs11.KindNoDevice, pkcs11.KindBlankToken, pkcs11.KindNoToken, pkcs11.KindTokens, pkcs11.KindCall, pkcs11.KindAnswer:
		explained := *e
		explained.More += "; " + p.String()
		return &explained
	}
	return p.Blame(err)
}

// Blame adds to an error of a proxy that doesn't answer which of its modules is to
// blame and which has the token.
func (p *Proxy) Blame(err error) error {
	var e *pkcs11.Error
	if p == nil || !errors.As(err, &e) || e.Kind != pkcs11.KindTimeout && e.Kind != pkcs11.KindCrash {
		return err
	}
	p.timer.Stop()
	p.look()
	explained := *e
	explained.More += "; " + p.String() + "; looked at one by one, " + strings.Join(p.found, ", ")
	if e.Kind == pkcs11.KindTimeout {
		explained.Kind = pkcs11.KindProxy
	}
	return &explained
}

// look looks at the modules, all at once, and returns when it has. They have no
// more time than p.ctx.
func (p *Proxy) look() {
	p.once.Do(func() {
		p.found = make([]string, len(p.modules))
		var wg sync.WaitGroup
		for i, path := range p.modules {
			wg.Go(func() { p.found[i] = path + " " + p.lookAt(path) })
		}
		wg.Wait()
	})
}

func (p *Proxy) lookAt(path string) string {
	config := p.config
	config.Module = path
	m, _, err := host.Load(p.ctx, config)
	if err == nil {
		defer m.Close()
		var token pkcs11.TokenStatus
		if token, err = m.Token(p.ctx); err == nil {
			return fmt.Sprintf("has the token %s", token.URI)
		}
	}
	var e *pkcs11.Error
	errors.As(err, &e)
	switch {
	case e == nil, e.Kind == pkcs11.KindTimeout:
		return "doesn't answer"
	case e.Kind == pkcs11.KindTokens:
		return "has several such tokens"
	case e.Kind == pkcs11.KindNoToken, e.Kind == pkcs11.KindBlankToken, e.Kind == pkcs11.KindNoDevice:
		return "has no such token"
	case e.Kind == pkcs11.KindCrash:
		return "crashes"
	}
	return "fails (" + e.Error() + ")"
}
