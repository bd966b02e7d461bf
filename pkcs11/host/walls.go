// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/notation-pkcs11/notation-pkcs11/internal/sandbox"
	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// walls returns what keeps the module from doing more than it must, as the words of
// the child's second argument, and the ruleset of the sandbox, if there is one. The
// child sets them itself before it has threads (early_linux.c), since Go 1.26 can't
// set them between fork and exec.
func (c Config) walls() (words string, ruleset *os.File, err error) {
	var list []string
	if c.Trace != "" {
		list = append(list, wallTraced)
	}
	if c.Sandbox != nil {
		if c.MayGainPrivileges {
			return "", nil, wallError("a module in a sandbox starts no other programs, so that it can't gain privileges by them; leave out the sandbox or no_new_privs=false")
		}
		if ruleset, err = c.Sandbox.Ruleset(c.Module); err != nil {
			return "", nil, wallError("the module was not loaded, since its sandbox can't be set: %v", err)
		}
		list = append(list, wallSandbox)
	}
	if !c.MayGainPrivileges {
		list = append(list, wallNoNewPrivs)
	}
	return strings.Join(list, ","), ruleset, nil
}

func wallError(format string, arguments ...any) error {
	return &pkcs11.Error{Kind: pkcs11.KindConfig, Message: fmt.Sprintf(format, arguments...)}
}

// checkWalls ends the child unless all walls are set that the parent asked for: what
// sets them (early_linux.c) has its arguments from /proc, which may be missing.
func checkWalls() {
	for wall := range strings.SplitSeq(asked(), ",") {
		if wall != "" && !isSet(wall) {
			fmt.Fprintf(os.Stderr, "the wall %q is not set\n", wall)
			os.Exit(exitNoWalls)
		}
	}
}

// underTrace has strace run a command of this executable, and write to a file.
func underTrace(command *exec.Cmd, file string) error {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return wallError("what the module opens can't be learned: strace is not installed")
	}
	executable, err := os.Executable() // which /proc/self/exe is not for strace
	if err != nil {
		return err
	}
	command.Path = strace
	command.Args = append([]string{"strace", "-f", "-yy", "-e", "signal=none", "-e", "trace=" + sandbox.Calls, "-o", file, "--", executable}, command.Args[1:]...)
	return nil
}
