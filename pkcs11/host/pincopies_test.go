// SPDX-License-Identifier: Apache-2.0

//go:build linux

package host_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11/host"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// beScanner reads a PIN from stdin, and says how often the memory of a process has
// it, as it is and encoded.
func beScanner(args []string) {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		fmt.Println(err)
		return
	}
	pin, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Println(err)
		return
	}
	base := base64.StdEncoding.EncodeToString(pin)
	encodings := [][]byte{[]byte(base[:len(base)-4]) /* without its padded end */, []byte(hex.EncodeToString(pin))}
	plain, encoded := 0, 0
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		fmt.Println(err)
		return
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer memory.Close()
	for line := range strings.Lines(string(maps)) {
		var start, end uint64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &start, &end, &mode); err != nil {
			fmt.Println(err)
			return
		}
		if !strings.HasPrefix(mode, "rw") || end-start > 1<<30 {
			continue
		}
		region := make([]byte, end-start)
		n, _ := memory.ReadAt(region, int64(start)) // what can't be read is a device's
		plain += bytes.Count(region[:n], pin)
		for _, needle := range encodings {
			encoded += bytes.Count(region[:n], needle)
		}
	}
	fmt.Println("counts:", plain, encoded)
}

// While the key is open, the host keeps the PIN for a login after a lost session.
// Nothing is left in the parent once the PIN is sent, and no encoder or buffer has
// had a copy. What the module does with its own is not in our hands, so one more in
// the host is let pass.
// (The constant in this binary is in memory that isn't written to, and not looked at.)
func TestCopiesOfThePINInMemory(t *testing.T) {
	f := newFixture(t)
	open := startParent(t, os.Getuid(), f.Path, "hold")
	open.awaits(t, "open")
	closed := startParent(t, os.Getuid(), f.Path, "close")
	closed.awaits(t, "open")
	closed.awaits(t, "closed")
	for _, process := range []struct {
		name  string
		pid   int
		least int // which shows that the scan sees it
		most  int
	}{
		{"the parent", open.Process.Pid, 0, 0},
		{"the host", open.host(t), 1, 2},
		{"the parent, afterwards", closed.Process.Pid, 0, 0},
	} {
		plain, encoded := scan(t, process.pid)
		if plain < process.least || plain > process.most || encoded > 0 {
			t.Errorf("%s: the PIN is in its memory %d times as it is, %d times encoded", process.name, plain, encoded)
		}
	}
}

// scan counts the PIN in a process's memory.
func scan(t *testing.T, pid int) (plain, encoded int) {
	t.Helper()
	output := asRoot(t, testenv.UserPIN, self(t), "scanner", strconv.Itoa(pid))
	if _, err := fmt.Sscanf(output, "counts: %d %d", &plain, &encoded); err != nil {
		t.Fatalf("the scan of process %d failed: %v\n%s", pid, err, output)
	}
	return plain, encoded
}

func TestPINIsNotInTheChildsEnvironmentOrArguments(t *testing.T) {
	f := newFixture(t)
	t.Setenv("NOTATION_PKCS11_PIN", testenv.UserPIN)
	t.Setenv("INPUT_PIN", testenv.UserPIN)
	t.Setenv("HOST_TEST_PIN", testenv.UserPIN)
	c := config(f.Path)
	c.SecretEnv = []string{"HOST_TEST_PIN"}
	k, err := host.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	pids := children(t)
	if len(pids) != 1 {
		t.Fatalf("children %v", pids)
	}
	for _, name := range []string{"environ", "cmdline"} {
		content := asRoot(t, "", "cat", fmt.Sprintf("/proc/%d/%s", pids[0], name))
		if strings.Contains(content, testenv.UserPIN) {
			t.Errorf("%s has the PIN", name)
		}
		if name == "environ" && !strings.Contains(content, "SOFTHSM2_CONF=") {
			t.Error("the environment lacks the module's configuration")
		}
	}
}
