// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
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
	hidden := fmt.Sprintf("%v %+v %#v", struct{ p PIN }{pin}, struct{ p PIN }{pin}, struct{ p PIN }{pin}) // fmt doesn't call its methods
	if strings.Contains(hidden, "s3cret") || strings.Contains(hidden, fmt.Sprint([]byte("s3cret"))) || strings.Contains(hidden, "0x73, 0x33") {
		t.Errorf("shown as %q", hidden)
	}
	pin.Wipe()
	if string(pin.Reveal()) == "s3cret" {
		t.Error("Wipe left the PIN")
	}
}

func TestPINSources(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // else it keeps others out
		t.Fatal(err)
	}
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
		"changed by everybody":  {"file:" + file("1234567890123", 0o622), "", "it can be changed by every user of this machine; run: chmod o-w '"},
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

// FuzzPINSource holds that a source is what was written, that reading it opens
// nothing but a regular file or a variable, and that no error repeats what may be
// the PIN itself.
func FuzzPINSource(f *testing.F) {
	for _, seed := range []string{
		"file:/run/pin", "file:///run/pin", "file://localhost/run/pin", "file://elsewhere/pin", "file:pin", "file:", "/run/pin", "//run/pin",
		"env:PIN", "env://", "env:", "env:A=B", "env:A\x00", "|cat /run/pin", "471147", "", "user:password", "FILE:/run/pin", "file://localhost",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const mark = "471147"
		if _, err := ParsePINSource(mark + s + mark); err == nil || strings.Contains(err.Error(), mark) {
			t.Fatalf("a PIN: %v", err)
		}
		source, err := ParsePINSource(s)
		if err != nil {
			if !IsKind(err, KindConfig) || !source.IsZero() {
				t.Fatalf("%v, error %v", source, err)
			}
			return
		}
		again, err := ParsePINSource(source.String())
		if name := source.EnvName(); err != nil || again != source || name == "" && source.scheme != "file" || strings.ContainsAny(name, "=\x00") {
			t.Fatalf("%q became %q, then %q, %v", s, source, again, err)
		}
		var asked []string
		pin, err := source.Read(func(name string) string { asked = append(asked, name); return "" })
		if err == nil && (len(pin.Reveal()) == 0 || len(pin.Reveal()) > maxPIN) || err != nil && !IsKind(err, KindPINSource) {
			t.Fatalf("%q: a PIN of %d bytes, error %v", source, len(pin.Reveal()), err)
		}
		if source.scheme == "env" && (err == nil || !slices.Equal(asked, []string{source.name})) || source.scheme == "file" && asked != nil {
			t.Fatalf("%q: asked for %q, error %v", source, asked, err)
		}
	})
}
