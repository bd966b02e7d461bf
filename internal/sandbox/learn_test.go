// SPDX-License-Identifier: Apache-2.0

//go:build unix

package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seen is what strace 6.1 writes of a module in HERE: the calls of two threads, of
// which one interrupts the other.
const seen = `7 execve("/proc/self/exe", ["plugin", "module-host"], 0x7ffd /* 9 vars */) = 0
7 openat(AT_FDCWD</>, "HERE/before", O_RDONLY|O_CLOEXEC) = 3<HERE/before>
7 openat(AT_FDCWD</>, "HERE/module.so", O_RDONLY|O_CLOEXEC) = 7<HERE/module.so>
7 openat(AT_FDCWD</>, "/usr/lib/libcrypto.so.3", O_RDONLY|O_CLOEXEC) = 7</usr/lib/libcrypto.so.3>
7 openat(AT_FDCWD</>, "HERE/absent", O_RDONLY) = -1 ENOENT (No such file or directory)
7 openat(AT_FDCWD</>, "HERE/link.conf", O_RDONLY) = 7<HERE/a,b/module.conf>
7 openat(AT_FDCWD</>, "HERE/shared/one", O_RDONLY) = 7<HERE/shared/one>
7 openat(AT_FDCWD</>, "HERE/shared/two", O_RDONLY) = 7<HERE/shared/two>
7 openat(AT_FDCWD</>, "HERE/shared/three", O_RDONLY <unfinished ...>
8 openat(AT_FDCWD</>, "HERE/tokens", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 8<HERE/tokens>
7 <... openat resumed>) = 7<HERE/shared/three>
8 openat(AT_FDCWD</>, "HERE/tokens/1/lock", O_RDWR|O_CREAT, 0600) = 9<HERE/tokens/1/lock>
8 openat(AT_FDCWD</>, "HERE/tokens/1/object", O_RDONLY) = 10<HERE/tokens/1/object>
8 mkdirat(9<HERE/cache>, "new", 0700) = 0
8 rename("HERE/moved/a", "HERE/moved/b") = 0
8 unlink("HERE/refused/a") = -1 EACCES (Permission denied)
8 symlink("HERE/nowhere/target", "HERE/links/name") = 0
8 openat(AT_FDCWD</>, "HERE/device", O_RDWR) = 10<HERE/device<char 10:224>>
8 openat(AT_FDCWD</>, "/dev/null", O_RDWR) = 11</dev/null<char 1:3>>
8 openat(AT_FDCWD</>, "/proc/self/maps", O_RDONLY) = 11</proc/8/maps>
8 openat(AT_FDCWD</>, "HERE/odd", O_RDONLY) = 11<HERE/\303\266\\dd\76>
8 openat(AT_FDCWD</>, "/tmp", O_RDWR|O_TMPFILE, 0600) = 12</tmp/#1> (deleted)
8 connect(13<TCP:[127.0.0.1:40000]>, {sa_family=AF_INET, sin_port=htons(2321), sin_addr=inet_addr("127.0.0.1")}, 16) = -1 EINPROGRESS (Operation now in progress)
8 connect(13<TCPv6:[[::1]:40000]>, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0)}, 28) = 0
8 connect(14<UDP:[127.0.0.1:40000]>, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
8 connect(15<UNIX-STREAM:[1]>, {sa_family=AF_UNIX, sun_path="HERE/socket"}, 110) = 0
9 execve("/usr/bin/helper", ["helper"], 0x7ffd /* 9 vars */) = 0
8 +++ exited with 0 +++
`

// What a module opened becomes the shortest setting that allows it, in the form in
// which the kernel will look at it: links followed, and what was there before left
// out.
func TestSandboxIsLearned(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a,b/module.conf", "shared/one", "shared/two", "shared/three", "tokens/1/lock", "tokens/1/object", "cache/new/x",
		"moved/b", "refused/a", "links/x", "device", "ö\\dd>", "module.so", "before"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("module.so", filepath.Join(dir, "named.so")); err != nil {
		t.Fatal(err)
	}
	trace := strings.ReplaceAll(seen, "HERE", dir)
	learned, err := Learn(strings.NewReader(trace), filepath.Join(dir, "named.so"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll("read:HERE/a%2Cb/module.conf,read:HERE/shared,read:HERE/tokens,read:HERE/ö\\dd>,"+
		"write:HERE/cache,write:HERE/device,write:HERE/links,write:HERE/moved,write:HERE/tokens/1,connect:443,connect:2321", "HERE", dir)
	if got := learned.String(); got != want {
		t.Errorf("learned\n%s, want\n%s", got, want)
	}
	if strings.Join(learned.Programs, " ") != "/usr/bin/helper" {
		t.Errorf("programs %q", learned.Programs)
	}
	if _, err := Learn(strings.NewReader(trace), filepath.Join(dir, "other.so")); err == nil || !strings.Contains(err.Error(), "did not see") {
		t.Errorf("another module: error %v", err)
	}
}

// Directories that hold all sorts of things don't stand for a few files in them.
func TestSharedDirectoriesAreNotAllowedAsAWhole(t *testing.T) {
	trace := "7 openat(AT_FDCWD</>, \"/module.so\", O_RDONLY) = 7</module.so>\n"
	for _, name := range []string{"passwd", "group", "hosts"} {
		trace += "7 openat(AT_FDCWD</>, \"/etc/" + name + "\", O_RDONLY) = 7</etc/" + name + ">\n"
	}
	learned, err := Learn(strings.NewReader(trace), "/module.so")
	if err != nil {
		t.Fatal(err)
	}
	if got := learned.String(); got != "read:/etc/group,read:/etc/hosts,read:/etc/passwd" {
		t.Errorf("learned %s", got)
	}
}

// FuzzLearn holds that whatever is in strace's output, the setting can be parsed.
func FuzzLearn(f *testing.F) {
	f.Add(seen)
	f.Fuzz(func(t *testing.T, trace string) {
		learned, err := Learn(strings.NewReader(trace), "HERE/module.so")
		if err != nil {
			return
		}
		if _, err := Parse(learned.String()); err != nil {
			t.Fatalf("%v: %q", err, learned)
		}
	})
}
