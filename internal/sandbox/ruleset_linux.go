// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// What may be done to a file, and to a directory and all that is below it. Special
// files can't be made, files not be moved from one directory to another, and no
// right is one to execute.
const (
	readFile       = landlock.AccessFSSet(ll.AccessFSReadFile)
	readDirectory  = readFile | ll.AccessFSReadDir
	writeFile      = readFile | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSIoctlDev
	writeDirectory = readDirectory | writeFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile |
		ll.AccessFSMakeDir | ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeSym
)

// What the versions of landlock's interface restrict more than those before.
const (
	abiTruncate = 3 // Linux 6.2
	abiTCP      = 4 // 6.7
	abiIoctl    = 5 // 6.10
)

// Missing says what this kernel can't restrict of what a Sandbox is to restrict;
// nothing where it restricts all. The error says that it has no landlock.
func Missing() (string, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return "", errNoLandlock
	}
	return missing(abi), nil
}

var errNoLandlock = errors.New("this kernel has no landlock, which the sandbox needs: it is in Linux since 5.13, if it is among the security modules that are on (/sys/kernel/security/lsm)")

func missing(abi int) string {
	switch {
	case abi < abiTruncate:
		return "TCP connections, cutting files to length, and ioctl(2) of devices are not restricted, for which it takes Linux 6.10"
	case abi < abiTCP:
		return "TCP connections and ioctl(2) of devices are not restricted, for which it takes Linux 6.10"
	case abi < abiIoctl:
		return "ioctl(2) of devices is not restricted, for which it takes Linux 6.10"
	}
	return ""
}

// Ruleset returns the sandbox of a module at a path as a landlock ruleset, to be
// handed to landlock_restrict_self(2). It is closed when this program starts
// another, unless it is handed on. What the kernel can't restrict is left out, see
// Missing.
func (s Sandbox) Ruleset(module string) (*os.File, error) {
	if _, err := Missing(); err != nil {
		return nil, err
	}
	var rules []landlock.Rule
	for _, list := range []struct {
		paths           []string
		file, directory landlock.AccessFSSet
		optional        bool
	}{
		{s.Read, readFile, readDirectory, false},
		{s.Write, writeFile, writeDirectory, false},
		{append([]string{module}, base...), readFile, readDirectory, true}, // to load no module has its own error
		{baseWritten, writeFile, writeDirectory, true},
	} {
		for _, path := range list.paths {
			info, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist) && list.optional:
			case err != nil:
				return nil, fmt.Errorf("the sandbox names a path that can't be used: %w", err)
			case info.IsDir():
				rules = append(rules, landlock.PathAccess(list.directory, path))
			default:
				rules = append(rules, landlock.PathAccess(list.file, path))
			}
		}
	}
	for _, port := range s.Connect {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	fd, flags, err := landlock.V5.BestEffort().NewRulesetFD(rules...)
	if err == nil && (fd < 0 || flags != 0) {
		err = errNoLandlock
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "landlock"), nil
}
