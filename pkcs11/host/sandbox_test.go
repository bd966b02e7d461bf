// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/internal/sandbox"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
)

// trespasser is a module that tries what a sandbox forbids, each in a thread of its
// own, and prints what came of it.
const trespasser = `
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(const char *name, const char *value)
{
	if (strncmp(name, "read", 4) == 0)
		return open(value, O_RDONLY);
	if (strncmp(name, "write", 5) == 0)
		return open(value, O_WRONLY | O_CREAT, 0600);
	if (strncmp(name, "connect", 7) == 0) {
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(value)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof(address));
	}
	int status = 0;
	pid_t child = fork();
	if (child == 0) {
		execl(value, value, (char *)NULL);
		_exit(errno);
	}
	waitpid(child, &status, 0);
	errno = WEXITSTATUS(status);
	return errno == 0 ? 0 : -1;
}

static void *try(void *argument)
{
	char *name = strtok(argument, "="), *value = strtok(NULL, "=");
	printf("%s: %s\n", name, run(name, value) < 0 ? strerror(errno) : "done");
	return NULL;
}

unsigned long C_GetFunctionList(void **list)
{
	char *rest = strdup(getenv("TRESPASSES"));
	for (char *one; (one = strsep(&rest, " ")) != NULL;) {
		pthread_t thread;
		pthread_create(&thread, NULL, try, one);
		pthread_join(thread, NULL);
	}
	fflush(stdout);
	return 5; /* CKR_GENERAL_ERROR */
}
`

// In a sandbox a module reads, writes and connects to what the setting names, and
// runs nothing.
func TestSandboxKeepsTheModuleIn(t *testing.T) {
	dir := t.TempDir()
	source, module := filepath.Join(dir, "trespasser.c"), filepath.Join(dir, "trespasser.so")
	for _, name := range []string{"secret", "config"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"store", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(source, []byte(trespasser), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("gcc", "-shared", "-fPIC", "-o", module, source, "-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var ports [2]string
	for i := range ports {
		listener, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		_, ports[i], _ = net.SplitHostPort(listener.Addr().String())
	}
	t.Setenv("TRESPASSES", strings.NewReplacer("DIR", dir, "PORT0", ports[0], "PORT1", ports[1]).Replace(
		"read-config=DIR/config read-secret=DIR/secret read-store=DIR/store write-store=DIR/store/new write-config=DIR/config write-elsewhere=DIR/elsewhere/new "+
			"connect-0=PORT0 connect-1=PORT1 execute=/bin/true write-null=/dev/null read-random=/dev/urandom"))
	allowed, err := sandbox.Parse("read:" + dir + "/config,write:" + dir + "/store,connect:" + ports[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, boxed := range []bool{false, true} {
		var printed bytes.Buffer
		c := config(module)
		c.ModuleLog = debugLog(&printed)
		if boxed {
			c.Sandbox = allowed
		}
		if _, err := host.Open(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindModule) {
			t.Fatalf("error %v", err)
		}
		for name, forbidden := range map[string]bool{
			"read-config": false, "read-secret": true, "read-store": false, "write-store": false, "write-config": true, "write-elsewhere": true,
			"connect-0": false, "connect-1": true, "execute": true, "write-null": false, "read-random": false,
		} {
			want := name + ": done"
			if boxed && forbidden {
				want = name + ": Permission denied"
			}
			if !strings.Contains(printed.String(), want) {
				t.Errorf("sandbox %v: the module doesn't say %q:\n%s", boxed, want, &printed)
			}
		}
	}
}

// A module is not loaded without the walls that were asked for.
func TestNoWallsNoModule(t *testing.T) {
	command := exec.Command("/proc/self/exe", "module-host", "no-new-privs,sandbox") // without a ruleset
	output, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != 71 || !strings.Contains(string(output), "the sandbox can't be set: ") {
		t.Errorf("%v\n%s", err, output)
	}
	// The arguments are read from /proc before Go starts, and may be longer than what
	// is read: cut before the walls, in one, and not at all.
	const room = 4095
	for name, test := range map[string]struct {
		program int
		walls   string
		status  int // 0: it serves, and kills its group in the end
	}{
		"no walls to be seen":   {room, "no-new-privs", 71},
		"a wall cut in two":     {room - len("/module-host/no-new"), "no-new-privs", 71},
		"a second wall cut":     {room - len("/module-host/no-new-privs,sand"), "no-new-privs,sandbox", 71},
		"an unknown wall":       {0, "no-new-privs,moat", 71},
		"none are asked for":    {room, "", 0},
		"all that is asked for": {0, "no-new-privs", 0},
	} {
		calls, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		var pipes [4]*os.File // requests and replies
		for i := 0; i < len(pipes); i += 2 {
			if pipes[i], pipes[i+1], err = os.Pipe(); err != nil {
				t.Fatal(err)
			}
		}
		command := exec.Cmd{
			Path:        "/proc/self/exe",
			Args:        []string{strings.Repeat("a", test.program), "module-host", test.walls},
			ExtraFiles:  []*os.File{pipes[0], pipes[3], calls},
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
		}
		pipes[1].Close() // at which a child ends that serves
		output, _ := command.CombinedOutput()
		if got := command.ProcessState.ExitCode(); test.status == 0 && got != -1 || test.status != 0 && got != test.status {
			t.Errorf("%s: exit status %d\n%s", name, got, output)
		}
		for _, f := range append(pipes[:], calls) {
			f.Close()
		}
	}
	c := config("/nonexistent/module.so")
	c.Sandbox = &sandbox.Sandbox{Read: []string{"/nonexistent"}}
	if _, err := host.Open(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindConfig) || !strings.Contains(err.Error(), "/nonexistent") {
		t.Errorf("error %v", err)
	}
	c.Sandbox, c.MayGainPrivileges = &sandbox.Sandbox{}, true
	if _, err := host.Open(t.Context(), c); !pkcs11.IsKind(err, pkcs11.KindConfig) || !strings.Contains(err.Error(), "no_new_privs") {
		t.Errorf("error %v", err)
	}
}
