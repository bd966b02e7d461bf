// SPDX-License-Identifier: Apache-2.0

//go:build linux || darwin

package agent

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// closedDir makes a directory of the user's alone, with a short path.
func closedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// A socket is made where nobody else could put or reach one, and what is there
// already stays unless it is the user's own and dead.
func TestWhereASocketIsMade(t *testing.T) {
	for _, row := range []struct {
		name string
		lay  func(t *testing.T, path string)
		says string // empty: it is made
	}{
		{"an empty place", func(*testing.T, string) {}, ""},
		{"a dead socket", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}, ""},
		{"a live socket", func(t *testing.T, path string) {
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, "a process listens on the socket"},
		{"a file", func(t *testing.T, path string) { os.WriteFile(path, []byte("kept"), 0o600) }, "is not a socket"},
		{"a link to a dead socket", func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + "2", Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
			os.Symlink(path+"2", path)
		}, "is not a socket"},
		{"an open directory", func(t *testing.T, path string) { os.Chmod(filepath.Dir(path), 0o755) }, "is open to other users; run: chmod 700"},
		{"a directory that isn't there", func(t *testing.T, path string) { os.Remove(filepath.Dir(path)) }, "can't be opened"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(closedDir(t), "socket")
			row.lay(t, path)
			before, _ := os.Lstat(path)
			s, err := Listen(path)
			if row.says == "" && err != nil || row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)) {
				t.Fatalf("error %v, want %q", err, row.says)
			}
			after, _ := os.Lstat(path)
			if row.says != "" {
				if (before == nil) != (after == nil) || before != nil && !os.SameFile(before, after) {
					t.Error("what was there has changed")
				}
				return
			}
			if mode := after.Mode(); mode.Perm() != 0o600 || mode&os.ModeSocket == 0 {
				t.Errorf("its mode is %v", mode)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !os.IsNotExist(err) {
				t.Errorf("it is left: %v", err)
			}
		})
	}
}

// A link in the place of the directory that this program would make is not followed.
func TestLinkInThePlaceOfTheDirectory(t *testing.T) {
	runtime, elsewhere := closedDir(t), closedDir(t)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	if err := os.Symlink(elsewhere, filepath.Join(runtime, "notation-pkcs11")); err != nil {
		t.Fatal(err)
	}
	if s, err := Listen(""); err == nil || !strings.Contains(err.Error(), "is no directory") {
		t.Errorf("error %v", err)
		if err == nil {
			s.Close()
		}
	}
}

// A socket that another one has taken the place of is not removed.
func TestAnotherSocketIsNotRemoved(t *testing.T) {
	path := filepath.Join(closedDir(t), "socket")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
}

func TestPathThatIsTooLong(t *testing.T) {
	path := filepath.Join(closedDir(t), strings.Repeat("s", maxPath))
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("error %v", err)
	}
}

// Agents that start and end at once in the same place get sockets of their own, and
// leave nothing.
func TestSocketsOfManyAgents(t *testing.T) {
	dir := closedDir(t)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	var agents sync.WaitGroup
	for range 8 {
		agents.Go(func() {
			for range 10 {
				s, err := Listen("")
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	agents.Wait()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// One of several agents takes over a dead socket.
func TestDeadSocketIsTakenOverOnce(t *testing.T) {
	path := filepath.Join(closedDir(t), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	var agents sync.WaitGroup
	made := make(chan *Socket, 8)
	for range 8 {
		agents.Go(func() {
			if s, err := Listen(path); err == nil {
				made <- s
			}
		})
	}
	agents.Wait()
	close(made)
	n := 0
	for s := range made {
		n++
		s.Close()
	}
	if n != 1 {
		t.Errorf("%d agents listen", n)
	}
}
