// SPDX-License-Identifier: Apache-2.0

//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/testenv"
	"github.com/notation-pkcs11/notation-pkcs11/testenv/wording"
)

// badInput is one thing that is wrong, and how the executable refuses it. DIR in
// it is the directory of writeBadFiles' files.
type badInput struct {
	name  string
	args  []string
	stdin func() io.Reader // nil: empty
	env   []string
	code  contract.ErrorCode // of a command of the contract; empty: of one for people, which exits with 1 or 2
	says  string             // a pattern
	// login is whether the module must be asked to find out. SoftHSM writes
	// down each login, and nothing else.
	login bool
}

const (
	invalid = contract.ErrorCodeValidation
	denied  = contract.ErrorCodeAccessDenied
	general = contract.ErrorCodeGeneric
)

const badKey = "pkcs11:token=testenv;object=EC-256"

// TestBadInputs gives the executable everything that is wrong. It refuses it with
// one error that names it; the token and all files stay as they are, and the PIN
// is shown nowhere.
func TestBadInputs(t *testing.T) {
	testenv.Long(t, "starts the plugin for each bad input")
	executable := buildPlugin(t)
	hsm := testenv.Start(t, testenv.NewSoftHSM)
	token, err := hsm.AddStandardToken()
	if err != nil {
		t.Fatal(err)
	}
	files, home := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(files), 0o755); err != nil { // else it keeps others from all files
		t.Fatal(err)
	}
	writeBadFiles(t, files, hsm.Module)
	conf, _ := strings.CutPrefix(hsm.Env()[0], "SOFTHSM2_CONF=")
	store := filepath.Join(filepath.Dir(conf), "tokens")
	fill := strings.NewReplacer("DIR", files).Replace
	inventory, err := token.Inventory()
	if err != nil {
		t.Fatal(err)
	}
	tried, held := 0, 0
	for _, bad := range badInputs() {
		tried++
		ok := testenv.Holds(t, bad.name, func(t *testing.T) {
			before := []map[string]string{contents(t, store, bad.login), contents(t, files, false), contents(t, home, false)}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, executable)
			cmd.Dir = home
			for _, arg := range bad.args {
				cmd.Args = append(cmd.Args, fill(arg))
			}
			cmd.Env = append([]string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "NOTATION_PKCS11_MODULE=" + hsm.Module, "NOTATION_PKCS11_PIN=" + token.PIN}, hsm.Env()...)
			for _, variable := range bad.env {
				cmd.Env = append(cmd.Env, fill(variable))
			}
			if bad.stdin != nil {
				cmd.Stdin = filled{bad.stdin(), fill}.reader()
			}
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) && !errors.Is(err, syscall.EPIPE) { // it doesn't read all
				t.Fatal(err)
			}
			checkRefusal(t, bad, cmd.ProcessState.ExitCode(), stdout.String(), stderr.String())
			if all := stdout.String() + stderr.String(); strings.Contains(all, token.PIN) {
				t.Errorf("the PIN is in %s", all)
			}
			after := []map[string]string{contents(t, store, bad.login), contents(t, files, false), contents(t, home, false)}
			for i := range before {
				if !maps.Equal(before[i], after[i]) {
					t.Errorf("files have changed, of which there were %d", len(before[i]))
				}
			}
		})
		if ok {
			held++
		}
	}
	if after, err := token.Inventory(); err != nil || after != inventory {
		t.Errorf("the token had\n%s\nand has\n%s\n%v", inventory, after, err)
	}
	testenv.Tally(t, testenv.BadInputs, tried, held)
}

// filled is a short request with its words replaced, or a long one as it is.
type filled struct {
	io.Reader
	fill func(string) string
}

func (f filled) reader() io.Reader {
	text, isText := f.Reader.(*strings.Reader)
	if !isText {
		return f.Reader
	}
	content, _ := io.ReadAll(text) // from memory
	return strings.NewReader(f.fill(string(content)))
}

func checkRefusal(t *testing.T, bad badInput, code int, stdout, stderr string) {
	t.Helper()
	if stdout != "" {
		t.Errorf("on standard output: %.300q", stdout)
	}
	text := strings.TrimSuffix(stderr, "\n")
	if bad.code != "" {
		var refusal contract.Error
		if err := json.Unmarshal([]byte(stderr), &refusal); err != nil || refusal.ErrCode != bad.code || code != 1 {
			t.Errorf("exit code %d, want 1 and %s: %.300s", code, bad.code, stderr)
		}
		text = refusal.Message
		if flaws := wording.Pair(wording.Message(text)); len(flaws) > 0 {
			t.Errorf("%.500s: %s", text, strings.Join(flaws, "; "))
		}
	} else if flaws := wording.Output(stderr); code != 1 && code != 2 || len(flaws) > 0 {
		t.Errorf("exit code %d: %.500s: %s", code, stderr, strings.Join(flaws, "; "))
	}
	if !regexp.MustCompile(bad.says).MatchString(text) {
		t.Errorf("%.500q doesn't match %s", text, bad.says)
	}
	if strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 9<<10 {
		t.Errorf("%d bytes of text that acts: %.300q", len(text), text)
	}
}

// contents are all files of a directory. Without logins, those of SoftHSM's token
// itself are left out.
func contents(t *testing.T, folder string, login bool) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || login && filepath.Base(path) == "token.object" {
			return err
		}
		all[path] = entry.Type().String()
		if entry.Type().IsRegular() {
			content, err := os.ReadFile(path)
			all[path] += string(content[:min(len(content), 64<<10)]) + fmt.Sprint(len(content))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
