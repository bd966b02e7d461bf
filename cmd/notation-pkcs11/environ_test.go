// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/faults"
)

// The variable that pin_source names is known once the settings are read. Then its
// value is not in the environment that the kernel shows, not even to root.
func TestVariableOfPINSourceIsErased(t *testing.T) {
	executable := buildPlugin(t)
	token, err := testenv.Start(t, testenv.NewSoftHSM).AddToken("T")
	if err != nil {
		t.Fatal(err)
	}
	module, err := faults.New(t.TempDir(), token.Store.Module, "C_Login hang")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, "check", "pkcs11:token=T;object=k", "--module", module.Path, "--pin-source", "env:MY_PIN")
	cmd.Env = append(append(token.Env(), module.Env()...), "MY_PIN="+testenv.UserPIN, "MY_PINS=another variable")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for range 6000 {
		if module.Calls("C_Login") > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	read := []string{"cat", fmt.Sprintf("/proc/%d/environ", cmd.Process.Pid)}
	if os.Getuid() != 0 {
		read = append([]string{"sudo", "-n"}, read...)
	}
	environ, err := exec.Command(read[0], read[1:]...).CombinedOutput()
	if err != nil || strings.Contains(string(environ), testenv.UserPIN) || !strings.Contains(string(environ), "MY_PIN=\x00") || !strings.Contains(string(environ), "MY_PINS=another variable") {
		t.Errorf("%v: the environment is shown as %q", err, environ)
	}
}
