// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What differs from run to run and from machine to machine in a picture of check.
var varying = []struct {
	pattern *regexp.Regexp
	shown   string
}{
	{regexp.MustCompile(`[0-9.]+ m?s\b`), "TIME"},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}`), "DATE"},
	{regexp.MustCompile(`/\S*/libsofthsm2\.so( \([^)]*\))?`), "MODULE"},
	{regexp.MustCompile(` +`), " "},
}

func steady(text string) string {
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.shown)
	}
	return strings.TrimSpace(text)
}

// What the README shows of check is what check prints.
func TestReadmeShowsWhatCheckPrints(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	const uri = "pkcs11:token=Release;object=signing"
	_, picture, found := strings.Cut(string(readme), "```console\n$ notation-pkcs11 check '"+uri+"'\n")
	picture, _, ends := strings.Cut(picture, "```\n")
	if !found || !ends {
		t.Fatal("the README has no picture of check")
	}
	executable := buildPlugin(t)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddToken("Release")
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), executable, args...)
		cmd.Env = append(token.Env(), "NOTATION_PKCS11_MODULE="+hsm.Module, "NOTATION_PKCS11_PIN="+token.PIN)
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, output)
		}
		return string(output)
	}
	run("generate-key", uri, "--type", "ec:p256")
	run("self-sign", uri, "--subject", "CN=Release signing,O=Example,ST=WA,C=US", "--days", "365", "--import")
	if printed := run("check", uri); steady(printed) != steady(picture) {
		t.Errorf("check prints\n%s\nand the README shows\n%s", printed, picture)
	}
}
