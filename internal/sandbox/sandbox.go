// SPDX-License-Identifier: Apache-2.0

// Package sandbox says what a PKCS#11 module may do to the machine: which files it
// may read and write, and to which TCP ports it may connect. Linux enforces it with
// landlock. A [Sandbox] is parsed from a setting; [Sandbox.Ruleset] is what the
// kernel gets, and [Learn] makes a Sandbox of what a module was seen doing.
//
// A module in a sandbox runs no other programs. What landlock can't restrict stays
// open to it: sockets that are not TCP, and questions about files such as stat(2).
package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Sandbox is what a module may do beside reading what each process needs, such as
// the system's libraries.
type Sandbox struct {
	// Read and Write are absolute paths of files and directories. A directory
	// stands for all that is below it; what may be written may be read.
	Read, Write []string
	// Connect are TCP ports.
	Connect []uint16
}

// The words of a setting.
const (
	wordNothing = "on" // for a Sandbox that is empty
	wordRead    = "read"
	wordWrite   = "write"
	wordConnect = "connect"
)

// Parse reads a setting such as
//
//	read:/etc/softhsm,write:/var/lib/softhsm/tokens,connect:2321
//
// or "on" for a sandbox in which nothing more is allowed. In a path a comma is
// written as %2C and a percent sign as %25.
func Parse(setting string) (*Sandbox, error) {
	s := &Sandbox{}
	if setting == wordNothing {
		return s, nil
	}
	for item := range strings.SplitSeq(setting, ",") {
		word, value, _ := strings.Cut(item, ":")
		switch word {
		case wordRead, wordWrite:
			path, err := parsePath(value)
			if err != nil {
				return nil, err
			}
			if word == wordRead {
				s.Read = append(s.Read, path)
			} else {
				s.Write = append(s.Write, path)
			}
		case wordConnect:
			port, err := strconv.ParseUint(value, 10, 16)
			if err != nil || port == 0 {
				return nil, fmt.Errorf("%q is not a TCP port", value)
			}
			s.Connect = append(s.Connect, uint16(port))
		default:
			return nil, fmt.Errorf("%q is neither read:PATH, write:PATH, connect:PORT nor, alone, on", item)
		}
	}
	return s, nil
}

var (
	escapes   = strings.NewReplacer("%", "%25", ",", "%2C")
	unescapes = strings.NewReplacer("%25", "%", "%2C", ",", "%2c", ",")
	unescaped = strings.NewReplacer("%25", "", "%2C", "", "%2c", "") // leaves what is no escape
)

func parsePath(text string) (string, error) {
	path := unescapes.Replace(text)
	switch {
	case !filepath.IsAbs(path):
		return "", fmt.Errorf("%q is not an absolute path", path)
	case strings.Contains(path, "\x00"):
		return "", errors.New("a path has a zero byte")
	case strings.Contains(unescaped.Replace(text), "%"):
		return "", fmt.Errorf("%q has a percent sign that is not %%25 or %%2C", text)
	}
	return filepath.Clean(path), nil
}

// String returns the setting that Parse reads.
func (s Sandbox) String() string {
	var items []string
	for _, path := range s.Read {
		items = append(items, wordRead+":"+escapes.Replace(path))
	}
	for _, path := range s.Write {
		items = append(items, wordWrite+":"+escapes.Replace(path))
	}
	for _, port := range s.Connect {
		items = append(items, wordConnect+":"+strconv.Itoa(int(port)))
	}
	if len(items) == 0 {
		return wordNothing
	}
	return strings.Join(items, ",")
}

// base is what each module may read: the libraries that it is linked with, and what
// every process is given.
var base = []string{
	"/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
	"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/usr/share/zoneinfo",
	"/dev/random", "/dev/urandom", "/dev/zero",
}

// baseWritten is what each module may write, too.
var baseWritten = []string{"/dev/null"}

// covers reports whether one of the paths is a path, or a directory above it.
func covers(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(above string) bool {
		return path == above || above == "/" || strings.HasPrefix(path, above+"/")
	})
}
