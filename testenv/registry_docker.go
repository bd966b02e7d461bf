// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"errors"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
)

// dockerRegistryConfig is a registry in memory on a port that the system picks.
const dockerRegistryConfig = `version: 0.1
log:
  accesslog:
    disabled: true
  formatter: text
http:
  addr: 127.0.0.1:0
storage:
  inmemory:
  delete:
    enabled: true
`

var listeningOn = regexp.MustCompile(`listening on ([0-9.:]+)[^0-9.:]`)

// dockerRegistry is a docker-registry process.
type dockerRegistry struct {
	*daemon
	dir string
}

// NewDockerRegistry starts Debian's docker-registry, the one that container
// images named "registry:2" run too. It has no Referrers API.
func NewDockerRegistry() (*Registry, error) {
	d, address, err := startDockerRegistry()
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: address})
			r.Out.Host = r.In.Host // upload locations must lead back through the journal
		},
	}
	return serveRegistry(proxy, d)
}

func startDockerRegistry() (_ *dockerRegistry, address string, err error) {
	d := &dockerRegistry{}
	if d.dir, err = os.MkdirTemp("", "docker-registry-"); err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(d.dir))
		}
	}()
	conf := filepath.Join(d.dir, "config.yml")
	if err := os.WriteFile(conf, []byte(dockerRegistryConfig), 0o600); err != nil {
		return nil, "", err
	}
	d.daemon, address, err = startDaemon(baseEnv(), listeningOn, "docker-registry", "serve", conf)
	return d, address, err
}

func (d *dockerRegistry) Close() error {
	return errors.Join(d.stop(), os.RemoveAll(d.dir))
}
