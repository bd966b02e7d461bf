// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// What the lab says leads to commands that work, and nothing is left after it.
func TestLabIsThereUntilItEnds(t *testing.T) {
	plugin := buildPlugin(t)
	temp := ownTempDir(t)
	ctx, end := context.WithCancel(t.Context())
	said, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := keep(ctx, &terminal{w: out}, plugin, "")
		out.CloseWithError(io.EOF)
		ended <- err
	}()
	env := ""
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C") {
		if match := regexp.MustCompile(`^\$ \. (\S+)$`).FindStringSubmatch(lines.Text()); match != nil {
			env = match[1]
		}
		if strings.Contains(lines.Text(), testenv.UserPIN) {
			t.Error("the PIN is in the output")
		}
	}
	rest := make(chan string)
	go func() {
		text, _ := io.ReadAll(said)
		rest <- string(text)
	}()
	shell := exec.Command("bash", "-euxc", `
		. "$0"
		notation-pkcs11 check 'pkcs11:token=Release;object=release-rsa'
		for image in "$IMAGE" "$TAG_SCHEMA_IMAGE"; do
			notation sign --key release-rsa --force-referrers-tag=false "$image"
			notation sign --key release-ec "$image"
			notation verify "$image"
		done`, env)
	if output, err := shell.CombinedOutput(); err != nil || env == "" {
		t.Errorf("with what %q exports: %v\n%s", env, err, output)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := <-rest; !strings.HasSuffix(text, "\nThe lab is deleted.\n") {
		t.Errorf("the end says %q", text)
	}
	checkEmpty(t, temp)
}
