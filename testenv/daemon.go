// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// What a server may take to start, and print until then.
const (
	daemonTimeout = 30 * time.Second
	maxEarly      = 64 << 10
)

// daemonScript ends the server when its own standard input does: on stop, and
// also when the process that started it dies without one.
const daemonScript = `
"$@" &
exec >/dev/null 2>&1 # the log ends when the server does
read -r _
kill $!
wait $!
`

// daemon is a server process.
type daemon struct {
	cmd   *exec.Cmd
	stdin io.Closer
	log   chan struct{} // closed when what it prints has been read to its end
}

// startDaemon starts a server and waits until its output matches ready, whose
// first group it returns. Without ready it doesn't wait.
func startDaemon(env []string, ready *regexp.Regexp, name string, args ...string) (d *daemon, found string, err error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, "", fmt.Errorf("start %s: not installed: run \"make setup\": %w", name, err)
	}
	name = filepath.Base(path)
	d = &daemon{cmd: exec.Command("sh", append([]string{"-c", daemonScript, "sh", path}, args...)...), log: make(chan struct{})}
	d.cmd.Env = env
	if d.stdin, err = d.cmd.StdinPipe(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	output, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	d.cmd.Stderr = d.cmd.Stdout
	if err := d.cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	matches := make(chan string, 1)
	var early []byte // what it says before it is ready; read after matches is closed
	if ready == nil {
		matches <- ""
	}
	go func() {
		defer close(d.log)
		defer close(matches)
		early = await(output, ready, matches)
	}()
	select {
	case found, ok := <-matches:
		if !ok {
			return nil, "", errors.Join(fmt.Errorf("start %s: it ended at once: %s", name, bytes.TrimSpace(early)), d.stop())
		}
		return d, found, nil
	case <-time.After(daemonTimeout):
		return nil, "", errors.Join(fmt.Errorf("start %s: it is not ready after %v", name, daemonTimeout), d.stop())
	}
}

// await sends the match of ready in what the server prints, and returns what it
// printed if there is none.
func await(output io.Reader, ready *regexp.Regexp, matches chan<- string) (early []byte) {
	chunk := make([]byte, 4<<10)
	for ready != nil && len(early) < maxEarly {
		n, err := output.Read(chunk)
		early = append(early, chunk[:n]...)
		if match := ready.FindSubmatch(early); match != nil {
			matches <- string(match[1])
			break
		}
		if err != nil {
			return early
		}
	}
	io.Copy(io.Discard, output) // or it would block on a full pipe
	return early
}

// stop ends the server and waits for it.
func (d *daemon) stop() error {
	closeErr := d.stdin.Close()
	<-d.log
	err := d.cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil // it was killed, as it should be
	}
	return errors.Join(closeErr, err)
}

// dial waits until the server listens at a socket.
func (d *daemon) dial(socket string) error {
	for deadline := time.Now().Add(daemonTimeout); ; {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-d.log:
			return fmt.Errorf("it ended at once: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it is not ready after %v: %w", daemonTimeout, err)
		}
	}
}
