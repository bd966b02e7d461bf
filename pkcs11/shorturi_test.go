// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"slices"
	"testing"
)

// What is suggested is as short as it can be, and selects one key alone.
func TestSuggestedURIsAreTheShortest(t *testing.T) {
	card := func(label, serial string, slot uint) *Token {
		return &Token{TokenInfo: TokenInfo{Label: label, Serial: serial, Model: "M", Manufacturer: "V", SlotID: slot, Flags: FlagInitialized}}
	}
	key := func(label, id string) object { return object{label: label, id: []byte(id)} }
	release, uninitialized := card("Release", "1", 1), card("Release", "0", 2)
	uninitialized.Flags = 0
	for name, test := range map[string]struct {
		tokens []*Token // of which the keys are on the first
		keys   []object
		want   []string
	}{
		"labels that differ": {[]*Token{release}, []object{key("signing", "\x01"), key("next", "\x02")},
			[]string{"pkcs11:token=Release;object=signing", "pkcs11:token=Release;object=next"}},
		"labels that differ, and one id": {[]*Token{release}, []object{key("signing", "\x01"), key("next", "\x01")},
			[]string{"pkcs11:token=Release;object=signing", "pkcs11:token=Release;object=next"}},
		"one label after a rotation": {[]*Token{release}, []object{key("signing", "\x01"), key("signing", "\x02"), key("next", "\x03")},
			[]string{"pkcs11:token=Release;id=%01", "pkcs11:token=Release;id=%02", "pkcs11:token=Release;object=next"}},
		"neither is unique alone": {[]*Token{release}, []object{key("a", "\x01"), key("a", "\x02"), key("b", "\x01")},
			[]string{"pkcs11:token=Release;object=a;id=%01", "pkcs11:token=Release;id=%02", "pkcs11:token=Release;object=b"}},
		"no label": {[]*Token{release}, []object{key("", "\x01"), key("a", "")},
			[]string{"pkcs11:token=Release;id=%01", "pkcs11:token=Release;object=a"}},
		"one label, and one has no id": {[]*Token{release}, []object{key("a", "\x01"), key("a", "")},
			[]string{"pkcs11:token=Release;id=%01", "pkcs11:token=Release;object=a;id="}},
		"no URI tells them apart": {[]*Token{release}, []object{key("a", "\x01"), key("a", "\x01")},
			[]string{"pkcs11:token=Release;object=a;id=%01", "pkcs11:token=Release;object=a;id=%01"}},
		"no token beside": {[]*Token{release, uninitialized}, []object{key("a", "\x01")},
			[]string{"pkcs11:token=Release;object=a"}},
		"another token beside": {[]*Token{release, card("Other", "2", 2)}, []object{key("a", "\x01")},
			[]string{"pkcs11:token=Release;object=a"}},
		"two tokens with one label": {[]*Token{release, card("Release", "2", 2)}, []object{key("a", "\x01")},
			[]string{"pkcs11:serial=1;object=a"}},
		"no label on the token": {[]*Token{card("", "1", 1), release}, []object{key("a", "\x01")},
			[]string{"pkcs11:serial=1;token=;object=a"}},
		"one token in two slots": {[]*Token{release, card("Release", "1", 2)}, []object{key("a", "\x01")},
			[]string{"pkcs11:slot-id=1;manufacturer=V;model=M;serial=1;token=Release;object=a"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, token := range test.tokens {
				token.siblings = test.tokens
			}
			var got []string
			for _, u := range objectURIs(test.tokens[0], test.keys, test.keys) {
				got = append(got, u.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// An agent's keys may be of several tokens, of which each shows all of itself.
func TestSuggestedURIsOfSeveralTokens(t *testing.T) {
	for name, test := range map[string]struct{ shown, want []string }{
		"one key": {
			[]string{"pkcs11:slot-id=1;manufacturer=V;model=M;serial=1;token=Release;object=a;id=%01;type=private"},
			[]string{"pkcs11:token=Release;object=a"}},
		"one label": {
			[]string{"pkcs11:serial=1;token=Release;object=a;id=%01", "pkcs11:serial=1;token=Release;object=a;id=%02"},
			[]string{"pkcs11:token=Release;id=%01", "pkcs11:token=Release;id=%02"}},
		"tokens with one label": {
			[]string{"pkcs11:serial=1;token=Release;object=a;id=%01", "pkcs11:serial=2;token=Release;object=a;id=%01", "pkcs11:serial=2;token=Release;object=b;id=%02"},
			[]string{"pkcs11:serial=1;object=a", "pkcs11:serial=2;object=a", "pkcs11:token=Release;object=b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var shown []URI
			for _, text := range test.shown {
				u, err := ParseURI(text)
				if err != nil {
					t.Fatal(err)
				}
				shown = append(shown, u)
			}
			var got []string
			for _, u := range ShortURIs(shown) {
				got = append(got, u.String())
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}
