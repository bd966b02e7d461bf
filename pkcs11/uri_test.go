// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"maps"
	"strings"
	"testing"
)

func TestURIRoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		in, canonical string
		values        map[string]string
	}{
		"a key":        {"pkcs11:object=my-key;token=T", "pkcs11:token=T;object=my-key", map[string]string{AttrToken: "T", AttrObject: "my-key"}},
		"everything":   {"pkcs11:", "pkcs11:", nil},
		"any case":     {"PKCS11:token=T", "pkcs11:token=T", map[string]string{AttrToken: "T"}},
		"any byte":     {"pkcs11:id=%00%ff%3b%41", "pkcs11:id=%00%FF%3B%41", map[string]string{AttrID: "\x00\xff;A"}},
		"plain id":     {"pkcs11:id=A1", "pkcs11:id=%41%31", map[string]string{AttrID: "A1"}},
		"a plus":       {"pkcs11:token=a+b", "pkcs11:token=a+b", map[string]string{AttrToken: "a+b"}},
		"UTF-8":        {"pkcs11:object=Schl%C3%BCssel", "pkcs11:object=Schl%C3%BCssel", map[string]string{AttrObject: "Schlüssel"}},
		"empty label":  {"pkcs11:object=", "pkcs11:object=", map[string]string{AttrObject: ""}},
		"equals sign":  {"pkcs11:object=a=b", "pkcs11:object=a=b", map[string]string{AttrObject: "a=b"}},
		"slot":         {"pkcs11:slot-id=7;slot-description=front", "pkcs11:slot-description=front;slot-id=7", map[string]string{AttrSlotID: "7"}},
		"query":        {"pkcs11:token=T?pin-source=file:/run/pin&module-path=/lib/m.so", "pkcs11:token=T?module-path=/lib/m.so&pin-source=file:/run/pin", map[string]string{AttrModulePath: "/lib/m.so", AttrPINSource: "file:/run/pin"}},
		"query alone":  {"pkcs11:?module-name=softhsm2", "pkcs11:?module-name=softhsm2", map[string]string{AttrModuleName: "softhsm2"}},
		"all the rest": {"pkcs11:manufacturer=M;serial=S;model=O;type=private;library-version=2.40;library-manufacturer=L;library-description=D;slot-manufacturer=F", "pkcs11:library-manufacturer=L;library-description=D;library-version=2.40;slot-manufacturer=F;manufacturer=M;model=O;serial=S;type=private", nil},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := ParseURI(test.in)
			if err != nil {
				t.Fatal(err)
			}
			if u.String() != test.canonical {
				t.Errorf("String() = %s, want %s", u, test.canonical)
			}
			for name, want := range test.values {
				if value, present := u.Value(name); !present || value != want {
					t.Errorf("Value(%s) = %q, %t, want %q", name, value, present, want)
				}
			}
			again, err := ParseURI(u.String())
			if err != nil || again.String() != u.String() {
				t.Errorf("parsed again: %v, %v", again, err)
			}
		})
	}
}

func TestURIRefusesByName(t *testing.T) {
	for name, test := range map[string]struct{ in, wants string }{
		"another scheme":       {"file:/key", `"pkcs11:"`},
		"no scheme":            {"token=T", `"pkcs11:"`},
		"unknown attribute":    {"pkcs11:token=T;label=key", `"label"`},
		"unknown in query":     {"pkcs11:token=T?module=x", `"module"`},
		"vendor attribute":     {"pkcs11:x-vendor=1", `"x-vendor"`},
		"query in the path":    {"pkcs11:module-path=/m.so", `"module-path" in the wrong part`},
		"path in the query":    {"pkcs11:?token=T", `"token" in the wrong part`},
		"given twice":          {"pkcs11:token=T;object=k;token=U", `"token" twice`},
		"no value":             {"pkcs11:token", "an attribute without a value"},
		"bad escape":           {"pkcs11:object=a%zz", `"object": % must be followed by two hexadecimal digits`},
		"cut escape":           {"pkcs11:object=a%4", `"object": the escape at its end is cut off`},
		"blank":                {"pkcs11:token=My Token", `"token": the character ' ' must be written %20`},
		"raw UTF-8":            {"pkcs11:object=Schlüssel%201", `"object": the character 'ü' must be written %C3%BC`},
		"raw Latin-1":          {"pkcs11:object=Schl\xfcssel", `"object": the byte 0xFC, which is not UTF-8, must be written %FC`},
		"slash in the path":    {"pkcs11:object=a/b", `"object": the character '/' must be written %2F`},
		"empty attribute":      {"pkcs11:token=T;", "an attribute without a value"},
		"slot of letters":      {"pkcs11:slot-id=first", `"slot-id": expected a decimal number`},
		"slot with a zero":     {"pkcs11:slot-id=07", `"slot-id": expected a decimal number`},
		"signed slot":          {"pkcs11:slot-id=+1", `"slot-id": expected a decimal number`},
		"unknown type":         {"pkcs11:type=rsa", `"type": expected private`},
		"bad version":          {"pkcs11:library-version=two", `"library-version": expected a version`},
		"empty module path":    {"pkcs11:?module-path=", `"module-path": it is empty`},
		"module name as path":  {"pkcs11:?module-name=/lib/m.so", `"module-name": it is a path`},
		"pin-value":            {"pkcs11:token=T?pin-value=4711", `pin-value: notation writes key ids`},
		"pin-value in path":    {"pkcs11:token=T;pin-value=4711", `pin-value: notation writes key ids`},
		"pin-value bad escape": {"pkcs11:token=T?pin-value=4711%", `pin-value: notation writes key ids`},
		"endless":              {"pkcs11:token=" + strings.Repeat("4711", maxURI), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			u, err := ParseURI(test.in)
			if err == nil {
				t.Fatalf("accepted as %s", u)
			}
			if !IsKind(err, KindURI) || !strings.Contains(err.Error(), test.wants) {
				t.Errorf("error %q, want kind %q and %s", err, KindURI, test.wants)
			}
			if strings.Contains(err.Error(), "4711") {
				t.Errorf("error %q repeats a value that may be a PIN", err)
			}
		})
	}
}

// Modules that pad with zeros have tools print them: "token=lab%00%00".
func TestPaddingOfTokensIsNoDifference(t *testing.T) {
	token := TokenInfo{Label: "lab", Serial: "7", Model: "m", SlotDescription: "front"}
	for uri, want := range map[string]bool{
		"pkcs11:token=lab%00%00;serial=7%00;model=m%20": true,
		"pkcs11:slot-description=front%20%20":           true,
		"pkcs11:token=%00lab":                           false,
		"pkcs11:token=lab%00x":                          false,
	} {
		u, err := ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		if got := u.matches(token.attributes()); got != want {
			t.Errorf("%s matches: %t", uri, got)
		}
	}
	u, err := ParseURI("pkcs11:object=key%20")
	if err != nil {
		t.Fatal(err)
	}
	if u.matches(object{label: "key"}.attributes()) {
		t.Error("an object's label is no padded text")
	}
}

// FuzzParseURI holds that what is accepted is within the documented bounds and
// means the same when it is written and read again, and that a refusal names an
// attribute and repeats no value.
func FuzzParseURI(f *testing.F) {
	for _, seed := range []string{
		"pkcs11:token=T;object=k;id=%01%ff?module-path=/m.so&pin-source=file:/pin",
		"pkcs11:", "pkcs11:?", "pkcs11:;", "pkcs11:id=%", "PKCS11:type=private", "pkcs11:token=%F0%9F%94%91",
		"pkcs11:slot-id=18446744073709551615;library-version=2.40;serial=0;manufacturer=%20?module-name=p11",
		"pkcs11:token=T?pin-value=4711", "pkcs11:pin-value=%", "pkcs11:object=a;object=b", "pkcs11:module-path=/x", "pkcs11:?id=1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		const mark = "4711~" // at the beginning of each value
		if _, err := ParseURI(strings.ReplaceAll(s, "=", "="+mark)); err != nil && strings.Contains(err.Error(), mark) && !strings.Contains(s, mark) {
			t.Fatalf("%q: the error repeats a value: %v", s, err)
		}
		u, err := ParseURI(s)
		if err != nil {
			if !IsKind(err, KindURI) || len(err.Error()) > 500 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		known := 0
		for _, a := range attributes {
			value, present := u.Value(a.name)
			if present {
				known++
			}
			if present && a.check != nil && a.check(value) != nil {
				t.Fatalf("%s=%q: %v", a.name, value, a.check(value))
			}
		}
		if known != len(u.values) || len(s) > maxURI {
			t.Fatalf("%q is accepted, with %v", s, u.values)
		}
		again, err := ParseURI(u.String())
		if err != nil || again.String() != u.String() || !maps.Equal(again.values, u.values) {
			t.Fatalf("%q became %q, then %q, %v", s, u, again, err)
		}
	})
}
