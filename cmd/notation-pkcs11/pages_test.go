// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// Each page of docs/tokens says one of these at its top.
const (
	pageIsRun     = "*Tested: this project's tests run the commands of this page"
	pageIsWritten = "*From vendor documentation, not tested.*"
)

const pages = "../../docs/tokens"

// readPage returns a page and the commands in it: its blocks that are marked sh.
func readPage(t *testing.T, name string) (text string, blocks []string) {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(pages, name))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(document), -1) {
		blocks = append(blocks, match[1])
	}
	return string(document), blocks
}

func TestPagesOfTokens(t *testing.T) {
	index, verify := readPage(t, "README.md")
	entries, err := os.ReadDir(pages)
	if err != nil {
		t.Fatal(err)
	}
	executable := buildPlugin(t)
	run := 0
	for _, entry := range entries {
		if entry.Name() == "README.md" {
			continue
		}
		t.Run(entry.Name(), func(t *testing.T) {
			text, blocks := readPage(t, entry.Name())
			line := regexp.MustCompile(`(?m)^\|.*\(` + regexp.QuoteMeta(entry.Name()) + `\).*\| (tested|vendor documentation) \|$`).FindStringSubmatch(index)
			if line == nil {
				t.Fatal("the table in README.md doesn't have it")
			}
			switch isRun, isWritten := strings.Contains(text, pageIsRun), strings.Contains(text, pageIsWritten); {
			case isRun == isWritten || isRun != (line[1] == "tested"):
				t.Fatal("it doesn't say whether it is run, or says other than README.md")
			case isRun:
				run++
				runPage(t, executable, append(blocks, verify...))
			default:
				checkUsage(t, executable, blocks)
			}
		})
	}
	if run != 3 {
		t.Errorf("%d pages were run", run)
	}
}

// runPage runs the commands of a page one after the other, with an image, a TPM
// and a certification authority in the place of the reader's.
func runPage(t *testing.T, executable string, blocks []string) {
	registry := testenv.Start(t, testenv.NewRegistry)
	image, err := registry.PushImage(t.Context(), "app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	tpm := testenv.Start(t, testenv.NewTPM)
	notation := testenv.Start(t, testenv.NewNotation)
	mustRun(t, notation, nil, "plugin", "install", "--file", executable)

	script := strings.Join(blocks, "\n")
	typed := filepath.Join(t.TempDir(), "typed")
	if err := os.WriteFile(typed, []byte("123456\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, own := range [][2]string{
		{"registry.example/app@sha256:…", registry.Host + "/app@" + image.Digest.String()},
		{"TPM2_PKCS11_TCTI=device:/dev/tpmrm0", tpm.Env()[0]},
		{"x86_64-linux-gnu", map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux-gnu"},
		{"read -rs pin", "read -rs pin <" + typed}, // tools read ahead on the terminal
		{"notation sign --key", "notation sign --force-referrers-tag=false --key"},
		{"notation-pkcs11 import-cert", "until [ -e chain.pem ]; do sleep 0.05; done\nnotation-pkcs11 import-cert"},
	} {
		script = strings.ReplaceAll(script, own[0], own[1])
	}
	script = "set -euo pipefail\n" +
		"trap '[ -z \"${P11_KIT_SERVER_PID-}\" ] || kill \"$P11_KIT_SERVER_PID\"' EXIT\n" + script

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.WaitDelay = 5 * time.Second // a server that it started may hold the streams
	cmd.Env = append(notation.Env(), "PATH="+strings.Join([]string{filepath.Dir(executable), filepath.Dir(notation.Command), os.Getenv("PATH")}, ":"))
	person, end := newTerminal(t)
	defer end.Close()
	// What a person types: both PINs of a new token of SoftHSM's twice.
	if _, err := io.WriteString(person, "87654321\n87654321\n123456\n123456\n"); err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = end
	var authority sync.WaitGroup
	authority.Go(func() { certify(t, ctx, cmd.Dir) })
	output, err := cmd.CombinedOutput()
	cancel()
	authority.Wait()
	if err != nil || !strings.Contains(string(output), "Successfully verified signature") {
		t.Errorf("%v\n%s", err, output)
	}
}

// certify is the certification authority: it answers signing.csr in a directory
// with chain.pem, and has root.pem there.
func certify(t *testing.T, ctx context.Context, dir string) {
	var request []byte
	for request == nil {
		var err error
		request, err = os.ReadFile(filepath.Join(dir, "signing.csr"))
		if ctx.Err() != nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // whoever waits for it says so
		}
		time.Sleep(20 * time.Millisecond)
	}
	block, _ := pem.Decode(request)
	if block == nil {
		t.Errorf("signing.csr is %q", request)
		return
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Error(err)
		return
	}
	if err := csr.CheckSignature(); err != nil {
		t.Error(err)
	}
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Error(err)
		return
	}
	chain, err := pki.Issue(csr)
	if err != nil {
		t.Error(err)
		return
	}
	for _, file := range []struct {
		name  string
		certs []*x509.Certificate
	}{{"root.pem", chain[2:]}, {"chain.part", chain}} {
		if err := os.WriteFile(filepath.Join(dir, file.name), testenv.EncodePEM(file.certs...), 0o600); err != nil {
			t.Error(err)
			return
		}
	}
	if err := os.Rename(filepath.Join(dir, "chain.part"), filepath.Join(dir, "chain.pem")); err != nil {
		t.Error(err)
	}
}

// checkUsage checks that the executable has the commands and flags that a page
// uses, without their token.
func checkUsage(t *testing.T, executable string, blocks []string) {
	script := strings.ReplaceAll(strings.Join(blocks, "\n"), "\\\n", "")
	commands := regexp.MustCompile(`(?m)^notation-pkcs11 .*$`).FindAllString(script, -1)
	if len(commands) < 3 {
		t.Fatalf("only %d commands:\n%s", len(commands), script)
	}
	dir := t.TempDir()
	pki, err := testenv.NewPKI()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "chain.pem"), testenv.EncodePEM(pki.Root), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		cmd := exec.Command("bash", "-c", command)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + filepath.Dir(executable) + ":" + os.Getenv("PATH"), "HOME=" + dir, "NOTATION_PKCS11_MODULE=" + dir + "/module.so"}
		output, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitFailed || !strings.Contains(string(output), "no such file") {
			t.Errorf("%s: %v, want that the module isn't there\n%s", command, err, output)
		}
	}
}
