// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// The sources lie in a directory of their own because the go command takes C
// files beside Go files for cgo's.
//
//go:embed module/*.c module/*.h
var sources embed.FS

// What build makes.
const (
	libraryFile = "faults.so"
	checkFile   = "check-rules"
)

// The modules whose directories the build needs: this one for its cache, and
// the one that brings the PKCS#11 headers.
const (
	ownModule    = "github.com/notation-pkcs11/notation-pkcs11"
	headerModule = "github.com/miekg/pkcs11"
)

var compilerFlags = []string{"-std=gnu11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror"}

// programs are what is compiled from the sources, with the flags for each.
var programs = []struct {
	file    string
	sources []string
	flags   []string
}{
	{
		file: libraryFile,
		sources: []string{"actions.c", "calls.c", "functions.c", "journal.c", "lifecycle.c",
			"login.c", "objects.c", "rules.c", "sessions.c", "signing.c", "slots.c"},
		flags: []string{"-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wl,-z,defs", "-ldl"},
	},
	{
		file:    checkFile,
		sources: []string{"check.c", "rules.c"},
	},
}

// build compiles the module and returns the directory that it is in, under
// .cache in the checkout. It compiles anew only what is not there from another
// process with the same sources.
var build = sync.OnceValues(func() (string, error) {
	own, headers, err := moduleDirs()
	if err != nil {
		return "", err
	}
	name, err := cacheName(headers)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(own, ".cache", "faults")
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(cache, ".part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	if err := compile(part, headers); err != nil {
		return "", err
	}
	// Another process may have been faster; its result is as good.
	if err := os.Rename(part, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
})

func moduleDirs() (own, headers string, err error) {
	out, err := run("go", "list", "-m", "-f", "{{.Dir}}", ownModule, headerModule)
	if err != nil {
		return "", "", err
	}
	dirs := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(dirs) != 2 || dirs[1] == "" {
		return "", "", fmt.Errorf("%s is not in the module cache: run \"go mod download\"", headerModule)
	}
	return dirs[0], dirs[1], nil
}

// cacheName changes with everything that goes into the result.
func cacheName(headers string) (string, error) {
	compiler, err := run("gcc", "-dumpfullversion", "-dumpmachine")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintln(sum, string(compiler), headers, compilerFlags, programs)
	err = eachSource(func(name string, content []byte) error {
		_, err := fmt.Fprintln(sum, name, len(content), string(content))
		return err
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// compile puts the programs into dir, beside nothing else.
func compile(dir, headers string) error {
	temp, err := os.MkdirTemp("", "faults-src-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	err = eachSource(func(name string, content []byte) error {
		return os.WriteFile(filepath.Join(temp, name), content, 0o600)
	})
	if err != nil {
		return err
	}
	for _, program := range programs {
		args := append([]string{"-o", filepath.Join(dir, program.file), "-isystem", headers}, compilerFlags...)
		for _, source := range program.sources {
			args = append(args, filepath.Join(temp, source))
		}
		if _, err := run("gcc", append(args, program.flags...)...); err != nil {
			return err
		}
	}
	// MkdirTemp's 0700 would keep it from other users of the checkout.
	return os.Chmod(dir, 0o755)
}

func eachSource(do func(name string, content []byte) error) error {
	return fs.WalkDir(sources, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := sources.ReadFile(path)
		if err != nil {
			return err
		}
		return do(filepath.Base(path), content)
	})
}

// run runs a tool to its end and returns its standard output.
func run(name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed: run \"make setup\": %w", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
