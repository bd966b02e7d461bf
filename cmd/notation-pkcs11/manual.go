// SPDX-License-Identifier: Apache-2.0

//go:build manual

// Built with the tag manual, the command writes its manual for packages: a man
// page for each of its commands and those below them, compressed, and what shells complete commands
// with.
//
//	go run -tags manual ./cmd/notation-pkcs11 DIRECTORY VERSION TIME
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

var version string

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "error: a directory, a version and a time are needed")
		os.Exit(2)
	}
	version = os.Args[2]
	if err := writeManual(os.Args[1], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// writeManual writes the manual of the time, as in RFC 3339, into an empty
// directory.
func writeManual(dir, at string) error {
	date, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root := newRoot()
	for path, write := range map[string]func(string) error{
		"notation-pkcs11.bash": func(path string) error { return root.GenBashCompletionFileV2(path, true) },
		"notation-pkcs11.fish": func(path string) error { return root.GenFishCompletionFile(path, true) },
		"_notation-pkcs11":     root.GenZshCompletionFile, // the name that zsh looks for
	} {
		if err := write(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	root.DisableAutoGenTag = true
	for _, command := range withCommandsBelow(root) {
		command.Long = indentedCommands.ReplaceAllString(command.Long, "    ")
		header := &doc.GenManHeader{Source: "notation-pkcs11 " + version, Manual: "User Commands", Date: &date}
		var page bytes.Buffer
		if err := doc.GenMan(command, header, &page); err != nil {
			return err
		}
		name := strings.ReplaceAll(command.CommandPath(), " ", "-") + ".1.gz"
		if err := compress(filepath.Join(dir, name), page.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// withCommandsBelow returns a command and all that are below it, but for those that
// are not for people.
func withCommandsBelow(command *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{command}
	for _, below := range command.Commands() {
		if below.Hidden {
			continue
		}
		all = append(all, withCommandsBelow(below)...)
	}
	return all
}

// indentedCommands are lines of a help text that begin with two blanks. In
// Markdown, which cobra takes help texts for, it takes four to keep lines apart.
var indentedCommands = regexp.MustCompile(`(?m)^  `)

func compress(path string, content []byte) error {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(content); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}
