// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/testenv"
)

// environment is a getenv over a map.
func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

// write writes a file of the test and returns its path.
func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	s, err := ParseSettings("pkcs11:token=T", nil, environment(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.Module != "" || s.InitArgs != "" || s.UserType != pkcs11.UserTypeUser || s.Certificates != nil || s.Timeout != time.Minute || s.Log != "" || s.PublicOnly {
		t.Errorf("got %+v", s)
	}
	if _, err := s.PIN(t.Context(), pkcs11.TokenInfo{}); !pkcs11.IsKind(err, pkcs11.KindNoPIN) {
		t.Errorf("got the error %v, want that there is no PIN", err)
	}
}

func TestURIBeforeConfigBeforeEnvironment(t *testing.T) {
	config := map[string]string{"module": "/config.so", "timeout": "2s"}
	variables := map[string]string{"NOTATION_PKCS11_MODULE": "/environment.so", "NOTATION_PKCS11_TIMEOUT": "3s"}
	for _, test := range []struct {
		name      string
		uri       string
		config    map[string]string
		variables map[string]string
		module    string
		timeout   time.Duration
	}{
		{"all", "pkcs11:token=T?module-path=/uri.so", config, variables, "/uri.so", 2 * time.Second},
		{"no URI", "pkcs11:token=T", config, variables, "/config.so", 2 * time.Second},
		{"environment alone", "pkcs11:token=T", nil, variables, "/environment.so", 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := ParseSettings(test.uri, test.config, environment(test.variables), nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.Module != test.module || s.Timeout != test.timeout {
				t.Errorf("got %q, %v", s.Module, s.Timeout)
			}
		})
	}
}

func TestPINComesFromTheFirstSource(t *testing.T) {
	inURI, inConfig := write(t, []byte("of the URI\n")), write(t, []byte("of the config"))
	prompt := func(context.Context, pkcs11.TokenInfo) (pkcs11.PIN, error) {
		return pkcs11.NewPIN([]byte("typed")), nil
	}
	variables := map[string]string{
		"NOTATION_PKCS11_PIN_SOURCE": "env:OTHER", "OTHER": "of the other variable", "NOTATION_PKCS11_PIN": "file://is a PIN",
	}
	without := func(name string) map[string]string { return map[string]string{"NOTATION_PKCS11_PIN": variables[name]} }
	for _, test := range []struct {
		name      string
		uri       string
		config    map[string]string
		variables map[string]string
		prompt    pkcs11.PINFunc
		want      string
	}{
		{"URI", "pkcs11:?pin-source=file:" + inURI, map[string]string{"pin_source": "file:" + inConfig}, variables, prompt, "of the URI"},
		{"config", "pkcs11:", map[string]string{"pin_source": "file:" + inConfig}, variables, prompt, "of the config"},
		{"environment's source", "pkcs11:", nil, variables, prompt, "of the other variable"},
		{"environment", "pkcs11:", nil, without("NOTATION_PKCS11_PIN"), prompt, "file://is a PIN"},
		{"prompt", "pkcs11:", nil, nil, prompt, "typed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := ParseSettings(test.uri, test.config, environment(test.variables), test.prompt)
			if err != nil {
				t.Fatal(err)
			}
			pin, err := s.PIN(t.Context(), pkcs11.TokenInfo{})
			if err != nil {
				t.Fatal(err)
			}
			if string(pin.Reveal()) != test.want {
				t.Errorf("got %q, want %q", pin.Reveal(), test.want)
			}
		})
	}
}

// The module's process gets the environment without them.
func TestVariableThatHoldsThePINIsNamedAsASecret(t *testing.T) {
	for source, want := range map[string][]string{"env:MY_PIN": {"MY_PIN"}, "file:/etc/pin": nil} {
		for _, in := range []struct {
			uri       string
			config    map[string]string
			variables map[string]string
		}{
			{uri: "pkcs11:?pin-source=" + source},
			{uri: "pkcs11:", config: map[string]string{"pin_source": source}},
			{uri: "pkcs11:", variables: map[string]string{"NOTATION_PKCS11_PIN_SOURCE": source}},
		} {
			s, err := ParseSettings(in.uri, in.config, environment(in.variables), nil)
			if err != nil || !slices.Equal(s.SecretEnv, want) {
				t.Errorf("%s: got %q, %v", source, s.SecretEnv, err)
			}
		}
	}
}

// A source that is set and can't be read is an error when the PIN is wanted: it
// is not passed over for the next one, and not noticed before.
func TestUnreadablePINSourceIsNotPassedOver(t *testing.T) {
	s, err := ParseSettings("pkcs11:", map[string]string{"pin_source": "file:/nowhere/pin"}, environment(map[string]string{envPIN: "1234"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.PIN(t.Context(), pkcs11.TokenInfo{})
	if !pkcs11.IsKind(err, pkcs11.KindPINSource) {
		t.Errorf("got the error %v", err)
	}
	checkError(t, Translate(err, s), contract.ErrorCodeAccessDenied, "/nowhere/pin", "no such file")
}

func TestBadSettingsAreRefusedByName(t *testing.T) {
	const pin = "4711"
	for _, test := range []struct {
		name      string
		uri       string
		config    map[string]string
		variables map[string]string
		phrases   []string
	}{
		{"unknown key", "", map[string]string{"slot": "0"}, nil, []string{`unknown plugin config "slot"; use one of`, "module, pin_source, cert_chain, timeout, init_args, user_type"}},
		{"key with control characters", "", map[string]string{"\x1b[0m": "0"}, nil, []string{`unknown plugin config "\x1b[0m"`}},
		{"PIN as a key", "", map[string]string{"pin": pin}, nil, []string{`"pin" is refused`, "signingkeys.json", "-d", "pin_source=file:", "NOTATION_PKCS11_PIN"}},
		{"empty value", "", map[string]string{"module": ""}, nil, []string{`"module" is empty`}},
		{"PIN source that is a PIN", "", map[string]string{"pin_source": pin}, nil, []string{`plugin config "pin_source"`, "file:", "env:"}},
		{"PIN source in the environment that is a PIN", "", nil, map[string]string{"NOTATION_PKCS11_PIN_SOURCE": pin}, []string{"environment variable NOTATION_PKCS11_PIN_SOURCE", "file:", "env:"}},
		{"PIN source in the URI that is a PIN", "pkcs11:?pin-source=" + pin, nil, nil, []string{"pin-source of the key URI", "file:", "env:"}},
		{"PIN in the URI", "pkcs11:?pin-value=" + pin, nil, nil, []string{"pin-value", "pin-source"}},
		{"unknown attribute", "pkcs11:label=x", nil, nil, []string{`"label"`, "object"}},
		{"timeout is no duration", "", map[string]string{"timeout": "30"}, nil, []string{`plugin config "timeout"`, `"30"`, "30s"}},
		{"timeout is nothing", "", map[string]string{"timeout": "0s"}, nil, []string{`plugin config "timeout"`, "out of range"}},
		{"timeout is negative", "", nil, map[string]string{"NOTATION_PKCS11_TIMEOUT": "-1s"}, []string{"environment variable NOTATION_PKCS11_TIMEOUT", "out of range"}},
		{"timeout is absurd", "", map[string]string{"timeout": "61m"}, nil, []string{"out of range", "1h0m0s"}},
		{"user type is a name", "", map[string]string{"user_type": "crypto-user"}, nil, []string{`plugin config "user_type"`, `"crypto-user"`, "0x80000001"}},
		{"user type is the security officer", "", map[string]string{"user_type": "0"}, nil, []string{"user type 0"}},
		{"user type is context-specific", "", map[string]string{"user_type": "0x2"}, nil, []string{"user type 2"}},
		{"user type is too large", "", map[string]string{"user_type": "0x100000000"}, nil, []string{`"0x100000000"`}},
		{"no such bundle", "", map[string]string{"cert_chain": "/nowhere/chain.pem"}, nil, []string{`plugin config "cert_chain"`, `"/nowhere/chain.pem"`, "no such file"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.uri == "" {
				test.uri = "pkcs11:token=T"
			}
			_, err := ParseSettings(test.uri, test.config, environment(test.variables), nil)
			checkError(t, err, contract.ErrorCodeValidation, test.phrases...)
			if strings.Contains(err.Error(), pin) {
				t.Errorf("the PIN is in the error: %v", err)
			}
		})
	}
}

func TestUserTypes(t *testing.T) {
	for value, want := range map[string]uint{"user": 1, "1": 1, "0x80000001": 0x80000001, "2147483649": 0x80000001} {
		s, err := ParseSettings("pkcs11:", map[string]string{"user_type": value}, environment(nil), nil)
		if err != nil || s.UserType != want {
			t.Errorf("%s: got %#x, %v", value, s.UserType, err)
		}
	}
}

func TestBundleIsReadInAnyOrderAndWithText(t *testing.T) {
	chain := newChain(t, testKeys[contract.KeySpecEC256]().Public())
	bundle := "Bag Attributes\nsubject=CN = x\n" + string(testenv.EncodePEM(chain[2])) + "\n\nleaf:\r\n" + string(testenv.EncodePEM(chain[0], chain[1]))
	for _, s := range []struct {
		config    map[string]string
		variables map[string]string
	}{
		{config: map[string]string{"cert_chain": write(t, []byte(bundle))}},
		{variables: map[string]string{"NOTATION_PKCS11_CERT_CHAIN": write(t, []byte(bundle))}},
	} {
		settings, err := ParseSettings("pkcs11:", s.config, environment(s.variables), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkNames(t, settings.Certificates, testenv.RootName, testenv.LeafName, testenv.IntermediateName)
	}
}

func TestRelativeBundleIsFoundFromTheWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	bundle := testenv.EncodePEM(newChain(t, testKeys[contract.KeySpecEC256]().Public())...)
	if err := os.WriteFile("chain.pem", bundle, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := ParseSettings("pkcs11:", map[string]string{"cert_chain": "chain.pem"}, environment(nil), nil)
	if err != nil || len(s.Certificates) != 3 {
		t.Errorf("got %d certificates, %v", len(s.Certificates), err)
	}
}

func TestBadBundlesAreRefused(t *testing.T) {
	chain := newChain(t, testKeys[contract.KeySpecEC256]().Public())
	good := testenv.EncodePEM(chain...)
	block := func(kind string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	}
	for _, test := range []struct {
		name    string
		content []byte
		phrase  string
	}{
		{"empty", nil, "holds no certificate in PEM"},
		{"base64 alone", []byte(base64.StdEncoding.EncodeToString(chain[0].Raw)), "base64 -d"},
		{"PKCS#12", append([]byte{0x30, 0x81, 0x80, 2, 1, 3}, make([]byte, 125)...), "openssl pkcs12 -in"},
		{"private key in DER", append([]byte{0x30, 0x81, 0x80, 2, 1, 0}, make([]byte, 125)...), "private key"},
		{"private key beside", append(block("EC PRIVATE KEY", []byte("secret")), good...), "holds a private key, which doesn't belong beside certificates"},
		{"encrypted private key beside", append(block("ENCRYPTED PRIVATE KEY", []byte("secret")), good...), "holds a private key"},
		{"other block", append(block("CERTIFICATE REQUEST", []byte("x")), good...), `"CERTIFICATE REQUEST"`},
		{"damaged certificate", append(good, block("CERTIFICATE", []byte("x"))...), "certificate number 4 is damaged"},
		{"damaged block", append(good, "-----BEGIN CERTIFICATE-----\nMIIC\n"...), "one of its PEM blocks is damaged"},
		{"too many", []byte(strings.Repeat(string(testenv.EncodePEM(chain[0])), maxBundleCertificates+1)), "more than 100 certificates"},
		{"too long", make([]byte, maxBundle+1), "longer than 1048576 bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, test.content)
			_, err := ParseSettings("pkcs11:", map[string]string{"cert_chain": path}, environment(nil), nil)
			checkError(t, err, contract.ErrorCodeValidation, `plugin config "cert_chain"`, path, test.phrase)
		})
	}
	t.Run("directory", func(t *testing.T) {
		_, err := ReadBundle(t.TempDir())
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		_, err := ReadBundle("/nowhere")
		if !errors.Is(err, os.ErrNotExist) || strings.Count(err.Error(), "nowhere") != 1 {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzSettings holds that what is accepted is within its bounds, that the earlier
// source wins, that the arguments for "notation key add" lead to the same
// settings, and that errors hold no PIN.
func FuzzSettings(f *testing.F) {
	for _, seed := range [][3]string{
		{"pkcs11:token=T;object=k?module-path=/uri.so&pin-source=env:P", "module=/config.so\ntimeout=2s\nuser_type=0x80000001", "NOTATION_PKCS11_MODULE=/env.so\nNOTATION_PKCS11_PIN=1"},
		{"pkcs11:", "pin_source=file:pin\ninit_args=configdir='a b'", "NOTATION_PKCS11_TIMEOUT=1h"},
		{"pkcs11:?module-name=softhsm2", "pin_source=//run/pin", "NOTATION_PKCS11_PIN_SOURCE=env:OTHER\nNOTATION_PKCS11_LOG=/tmp/log"},
		{"pkcs11:", "pin=471147", ""}, {"pkcs11:", "user_type=2", ""}, {"pkcs11:", "timeout=0s", ""}, {"pkcs11:", "timeout=", ""},
		{"pkcs11:", "cert_chain=/nonexistent.pem\nunknown=1", "NOTATION_PKCS11_CERT_CHAIN=/dev/null"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, id, config, variables string) {
		c, env := lineMap(config), lineMap(variables)
		const pin = "471147"
		env["NOTATION_PKCS11_PIN"] = pin
		if _, given := c["pin"]; given {
			c["pin"] = pin
		}
		s, err := ParseSettings(id, c, environment(env), nil)
		if err != nil {
			var failed *contract.Error
			if !errors.As(err, &failed) || failed.ErrCode != contract.ErrorCodeValidation || len(failed.Message) > 8<<10 {
				t.Fatalf("%#v", err)
			}
			if strings.Contains(failed.Message, pin) && !strings.Contains(id+config+variables, pin) {
				t.Fatalf("the PIN is in the error: %v", err)
			}
			return
		}
		if s.PIN == nil || s.Timeout <= 0 || s.Timeout > maxTimeout || s.UserType == 0 || s.UserType == 2 || len(s.Certificates) > maxBundleCertificates {
			t.Fatalf("got %+v", s)
		}
		if _, given := c["pin"]; given {
			t.Fatal("a PIN in the config is accepted")
		}
		path, inURI := s.URI.Value(pkcs11.AttrModulePath)
		_, byName := s.URI.Value(pkcs11.AttrModuleName)
		if want := cmp.Or(path, c["module"], env["NOTATION_PKCS11_MODULE"]); s.Module != want && (inURI || !byName) {
			t.Fatalf("the module is %q, not %q", s.Module, want)
		}

		arguments, err := KeyAddArguments(s.URI, c, environment(env))
		if err != nil {
			t.Fatal(err)
		}
		added := map[string]string{}
		for i, argument := range arguments {
			if argument == "--plugin-config" {
				key, value, _ := strings.Cut(arguments[i+1], "=")
				added[key] = value
			}
		}
		again, err := ParseSettings(arguments[slices.Index(arguments, "--id")+1], added, environment(nil), nil)
		if err != nil || again.Module != s.Module || again.InitArgs != s.InitArgs || again.UserType != s.UserType || again.Timeout != s.Timeout ||
			again.URI.Without(pkcs11.AttrPINSource).String() != s.URI.Without(pkcs11.AttrPINSource).String() || len(again.Certificates) != len(s.Certificates) {
			t.Fatalf("%+v became %q, then %+v, %v", s, arguments, again, err)
		}
	})
}

// lineMap reads key=value, one a line.
func lineMap(text string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, found := strings.Cut(strings.TrimRight(line, "\n"), "="); found {
			m[key] = value
		}
	}
	return m
}
