// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/notaryproject/notation-go/config"
	"github.com/notaryproject/notation-go/dir"
)

// FuzzSigningKeys holds that a key is found in signingkeys.json if and only if
// notation finds it there, and is the same key.
func FuzzSigningKeys(f *testing.F) {
	for _, seed := range []string{
		`{"default":"a","keys":[{"name":"a","keyPath":"/k","certPath":"/c"},{"name":"b","id":"pkcs11:","pluginName":"pkcs11","pluginConfig":{"timeout":"5s"}}]}`,
		`{"keys":[]}`, `{}`, `null`, `[]`, `{"keys":null}`, `{"keys":[{}]}`, `{"keys":[{"name":"a"}]}`, "", `{"keys":[`, `{"keys":[{"name":5}]}`,
		`{"keys":[{"name":"a","id":"1"},{"name":"a","id":"2"}]}`, `{"default":"b","keys":[{"name":"a","id":"1"}]}`, `{"default":"","keys":[{"name":"a","id":"1"}]}`,
		`{"keys":[{"name":"a","id":"1"},{"name":"","id":"2"}]}`, `{"keys":[{"name":"a","id":"1","keyPath":"/k"}]}{"keys":[]}`, `{"KEYS":[{"NAME":"a","ID":"1"}]}`,
	} {
		f.Add([]byte(seed), "a")
	}
	folder := notationReads(f)
	file := filepath.Join(folder, dir.PathSigningKeys)
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := NamedKey(folder, name)
		if err != nil {
			checkNamedKeyError(t, err)
		}
		keys, wrong := config.LoadSigningKeys()
		var want config.KeySuite
		if wrong == nil {
			want, wrong = keys.Get(name)
		}
		if err == nil && (wrong != nil || !reflect.DeepEqual(key, want)) {
			t.Errorf("the key is %+v; notation has %+v, %v", key, want, wrong)
		}
		if err != nil && wrong == nil && (want.X509KeyPair != nil || want.ExternalKey != nil) && !strings.Contains(err.Error(), "after top-level value") {
			t.Errorf("notation has the key %+v, error %v", want, err)
		}
	})
}

func checkNamedKeyError(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); !strings.HasPrefix(text, "key_name: ") || !strings.Contains(text, dir.PathSigningKeys) || strings.ContainsAny(text, "\x00\x1b\r\n") {
		t.Errorf("the error is %q", text)
	}
}

// notationReads has notation's own code take a new directory for its
// configuration, and returns it.
func notationReads(tb testing.TB) string {
	before := dir.UserConfigDir
	tb.Cleanup(func() { dir.UserConfigDir = before })
	dir.UserConfigDir = tb.TempDir()
	return dir.UserConfigDir
}
