// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPINShowsNowhere(t *testing.T) {
	pin := NewPIN([]byte("s3cret"))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("login", "pin", pin)
	document, err := json.Marshal(struct{ PIN PIN }{pin})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(pin), fmt.Sprintf("%v %+v %#v %s %q %x %d", pin, pin, pin, pin, pin, pin, pin),
		fmt.Sprintf("%+v", struct{ P PIN }{pin}), log.String(), string(document),
	} {
		if strings.Contains(shown, "s3cret") || strings.Contains(shown, fmt.Sprintf("%x", "s3cret")) || !strings.Contains(shown, "REDACTED") {
			t.Errorf("shown as %q", shown)
		}
	}
	pin.Wipe()
	if string(pin.Reveal()) == "s3cret" {
		t.Error("Wipe left the PIN")
	}
}

func TestPINSources(t *testing.T) {
	dir := t.TempDir()
	file := func(content string, mode os.FileMode) string {
		path := filepath.Join(dir, fmt.Sprintf("pin%d", len(content)+int(mode)))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	getenv := func(name string) string {
		return map[string]string{"PIN": "from the environment\n"}[name]
	}
	for name, test := range map[string]struct{ source, pin, wants string }{
		"a file":                {"file:" + file("1234", 0o600), "1234", ""},
		"a file URI":            {"file://" + file("1234", 0o600), "1234", ""},
		"a path":                {file("1234", 0o600), "1234", ""},
		"one line end cut off":  {"file:" + file("12345\n", 0o600), "12345", ""},
		"CRLF cut off":          {"file:" + file("123456\r\n", 0o600), "123456", ""},
		"blanks stay":           {"file:" + file(" user:pass word \n\n", 0o600), " user:pass word \n", ""},
		"group may read":        {"file:" + file("12345678", 0o640), "12345678", ""},
		"the environment":       {"env:PIN", "from the environment\n", ""},
		"an unset variable":     {"env:NOPIN", "", "env:NOPIN is empty or not set"},
		"an empty file":         {"file:" + file("\n", 0o600), "", "it is empty"},
		"a missing file":        {"file:" + dir + "/missing", "", "no such file"},
		"a directory":           {"file:" + dir, "", "not a regular file"},
		"readable by everybody": {"file:" + file("123456789012", 0o604), "", "chmod 600"},
		"a huge file":           {"file:" + file(strings.Repeat("1", maxPIN+2), 0o600), "", "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			source, err := ParsePINSource(test.source)
			if err != nil {
				t.Fatal(err)
			}
			pin, err := source.Read(getenv)
			if test.wants != "" {
				if !IsKind(err, KindPINSource) || !strings.Contains(err.Error(), test.wants) {
					t.Fatalf("error %v, want %s", err, test.wants)
				}
				return
			}
			if err != nil || string(pin.Reveal()) != test.pin {
				t.Fatalf("PIN %q, %v, want %q", pin.Reveal(), err, test.pin)
			}
		})
	}
}

func TestPINSourceRefusesWhatMayBeThePIN(t *testing.T) {
	for _, s := range []string{"4711", "|echo 4711", "env:", "env:A=4711", "file:", "file://host/4711", "", "user:4711"} {
		_, err := ParsePINSource(s)
		if !IsKind(err, KindConfig) || strings.Contains(err.Error(), "4711") {
			t.Errorf("ParsePINSource(%q): %v", s, err)
		}
	}
}
