// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What the mode bits of others are.
const ofOthers = 0o077

// Socket is where an agent listens.
type Socket struct {
	*net.UnixListener
	// Path is that of the socket, absolute.
	Path string

	made         fs.FileInfo // the socket's file; nil: it was inherited, and isn't this process's to remove
	ownDirectory bool        // the directory is this program's
}

// Listen makes a socket of the mode 0600 at a path, or, where that is empty, in a
// directory of the user's own: $XDG_RUNTIME_DIR/notation-pkcs11, or else
// notation-pkcs11-UID in the directory for temporary files. The directory must belong
// to the user, and to nobody else.
//
// A socket that another agent listens on is refused; one of the user's that nobody
// listens on, as a killed agent leaves it, is replaced; anything else is left as it
// is and refused. Close removes the socket.
func Listen(path string) (*Socket, error) {
	if path == "" {
		return listenAnywhere()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return listenAt(path)
}

// listenAnywhere makes a socket in a directory of this program's, which another
// agent that ends may remove meanwhile.
func listenAnywhere() (*Socket, error) {
	for try := 0; ; try++ {
		path, err := defaultPath()
		var s *Socket
		if err == nil {
			s, err = listenAt(path)
		}
		if err == nil {
			s.ownDirectory = true
		}
		const tries = 100 // as often as the directory can be expected to go
		if try == tries || !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
	}
}

func listenAt(path string) (*Socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("the socket's path %q has %d bytes, and this system allows at most %d; name a shorter one with --socket", path, len(path), maxPath)
	}
	var s *Socket
	err := locked(filepath.Dir(path), func() (err error) {
		if err = removeDead(path); err != nil {
			return err
		}
		s, err = listen(path)
		return err
	})
	return s, err
}

// defaultPath returns a path in the user's own directory, which it makes, and
// removes from it the sockets that nobody listens on.
func defaultPath() (string, error) {
	directory := filepath.Join(os.TempDir(), "notation-pkcs11-"+strconv.Itoa(os.Geteuid()))
	if runtime := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) {
		directory = filepath.Join(runtime, "notation-pkcs11")
	}
	if err := os.Mkdir(directory, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("the directory of the socket can't be created: %w; name another path with --socket", err)
	}
	// In a directory for temporary files anybody can have made a link, and turn it later.
	if info, err := os.Lstat(directory); err == nil && !info.IsDir() {
		return "", fmt.Errorf("%q is there and is no directory, where the socket was to be; remove it, or name another place with --socket", directory)
	}
	err := locked(directory, func() error {
		entries, err := os.ReadDir(directory)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), socketPrefix) {
				_ = removeDead(filepath.Join(directory, e.Name())) // whose socket it is, is not this one's matter
			}
		}
		return err
	})
	return filepath.Join(directory, socketPrefix+strings.ToLower(rand.Text()[:10])), err
}

// socketPrefix is what the names of sockets begin with that this program chose.
const socketPrefix = "agent-"

// locked checks a directory and does something while no other agent makes a socket
// in it.
func locked(directory string, do func() error) error {
	d, err := os.OpenFile(directory, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("the directory of the socket can't be opened: %w", err)
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() {
		return fmt.Errorf("the directory of the socket, %q, belongs to user %d; name one of your own with --socket", directory, owner)
	}
	if info.Mode()&ofOthers != 0 {
		return fmt.Errorf("the directory of the socket, %q, is open to other users; run: chmod 700 %q, or name another one with --socket", directory, directory)
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if err == nil {
			return do()
		}
		if err != unix.EINTR {
			return fmt.Errorf("the directory of the socket, %q, can't be locked: %w", directory, err)
		}
	}
}

// removeDead removes a socket of the user's that nobody listens on. Whatever else is
// at the path is an error.
func removeDead(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%q exists and is not a socket; name another path with --socket", path)
	}
	if owner := int(info.Sys().(*syscall.Stat_t).Uid); owner != os.Geteuid() {
		return fmt.Errorf("the socket %q belongs to user %d; name another path with --socket", path, owner)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("a process listens on the socket %q already, perhaps another agent; end that process, or name another path with --socket", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the agent can't find out whether a process listens on the socket %q: %w; name another path with --socket", path, err)
	}
	return os.Remove(path)
}

// listen makes the socket. Nobody can connect to it before it has its mode: the
// directory is closed.
func listen(path string) (*Socket, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("the socket can't be created: %w", err)
	}
	l.SetUnlinkOnClose(false) // Close looks first at what it removes
	s := &Socket{UnixListener: l, Path: path}
	if err = os.Chmod(path, 0o600); err == nil {
		s.made, err = os.Lstat(path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return s, nil
}

// Close stops listening and removes the socket, if this process made it and nobody
// has put another one there.
func (s *Socket) Close() error {
	err := s.UnixListener.Close()
	if s.made == nil {
		return err
	}
	gone := locked(filepath.Dir(s.Path), func() error {
		if now, err := os.Lstat(s.Path); err == nil && os.SameFile(now, s.made) {
			err = os.Remove(s.Path)
			if s.ownDirectory {
				os.Remove(filepath.Dir(s.Path)) // if it was the last one
			}
			return err
		}
		return nil
	})
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	if errors.Is(gone, fs.ErrNotExist) { // an agent that started meanwhile has removed it, or with it the directory
		gone = nil
	}
	return errors.Join(err, gone)
}

// dial connects to an agent.
func dial(ctx context.Context, path string) (*net.UnixConn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// Check returns why no agent can run here; nil: one can.
func Check() error { return nil }
