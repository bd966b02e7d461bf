// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
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

// dockerRegistryScript ends the registry when its own standard input does: on
// Close, and also when the process that started it dies without one.
const dockerRegistryScript = `
docker-registry serve "$1" &
exec 2>/dev/null # the log ends when the registry does
read -r _
kill $!
wait $!
`

var listeningOn = regexp.MustCompile(`listening on ([0-9.]+:[0-9]+)`)

// dockerRegistry is a docker-registry process.
type dockerRegistry struct {
	dir   string
	cmd   *exec.Cmd
	stdin io.Closer
	log   chan struct{} // closed when the log has been read to its end
}

// NewDockerRegistry starts Debian's docker-registry, the one that container
// images named "registry:2" run too. It has no Referrers API.
func NewDockerRegistry() (*Registry, error) {
	d, address, err := startDockerRegistry()
	if err != nil {
		return nil, fmt.Errorf("start docker-registry: %w", err)
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
	if _, err := exec.LookPath("docker-registry"); err != nil {
		return nil, "", fmt.Errorf("not installed: run \"make setup\": %w", err)
	}
	d := &dockerRegistry{log: make(chan struct{})}
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
	d.cmd = exec.Command("sh", "-c", dockerRegistryScript, "sh", conf)
	d.cmd.Env = baseEnv()
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		return nil, "", err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, "", err
	}
	listening := make(chan string, 1)
	var early bytes.Buffer // what it says before it listens; read after listening is closed
	go func() {
		defer close(d.log)
		defer close(listening)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if match := listeningOn.FindSubmatch(lines.Bytes()); match != nil {
				listening <- string(match[1])
				break
			}
			early.Write(append(lines.Bytes(), '\n'))
		}
		io.Copy(io.Discard, stderr) // or it would block on a full pipe
	}()
	select {
	case found, ok := <-listening:
		if !ok {
			return nil, "", errors.Join(fmt.Errorf("it ended at once: %s", bytes.TrimSpace(early.Bytes())), d.stop())
		}
		return d, found, nil
	case <-time.After(30 * time.Second):
		return nil, "", errors.Join(errors.New("it does not listen after 30 s"), d.stop())
	}
}

// stop ends the process and waits for it.
func (d *dockerRegistry) stop() error {
	closeErr := d.stdin.Close()
	<-d.log
	err := d.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil // it was killed, as it should be
	}
	return errors.Join(closeErr, err)
}

func (d *dockerRegistry) Close() error {
	return errors.Join(d.stop(), os.RemoveAll(d.dir))
}
