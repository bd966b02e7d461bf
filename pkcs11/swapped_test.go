// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"testing"

	"github.com/miekg/pkcs11"
)

// slot is one whose token changes.
type slot struct {
	binding
	info pkcs11.TokenInfo
	err  error
}

func (s *slot) GetTokenInfo(uint) (pkcs11.TokenInfo, error) { return s.info, s.err }

// Before the PIN is sent to a slot again, the same token must be in it, and no last
// try be left.
func TestTokenIsLookedAtBeforeALaterLogin(t *testing.T) {
	was := pkcs11.TokenInfo{Label: "T", SerialNumber: "1", Model: "M", ManufacturerID: "V", Flags: FlagLoginRequired}
	for name, row := range map[string]struct {
		change func(*slot)
		kind   Kind // empty: the PIN may be sent
	}{
		"the same":             {func(*slot) {}, ""},
		"padded":               {func(s *slot) { s.info.SerialNumber += "   " }, ""},
		"another label":        {func(s *slot) { s.info.Label = "U" }, ""},
		"another serial":       {func(s *slot) { s.info.SerialNumber = "2" }, KindReplaced},
		"another model":        {func(s *slot) { s.info.Model = "N" }, KindReplaced},
		"another manufacturer": {func(s *slot) { s.info.ManufacturerID = "W" }, KindReplaced},
		"locked":               {func(s *slot) { s.info.Flags |= FlagPINLocked }, KindPINLocked},
		"a last try":           {func(s *slot) { s.info.Flags |= FlagPINFinalTry }, KindPINLocked},
		"none":                 {func(s *slot) { s.err = pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT) }, KindCall},
	} {
		s := &slot{info: was}
		l := &login{token: &Token{TokenInfo: newTokenInfo(0, was), calls: &calls{module: s}}}
		row.change(s)
		if err := l.checkToken(); row.kind == "" && err != nil || row.kind != "" && !IsKind(withoutCall(err), row.kind) {
			t.Errorf("%s: error %v, want %q", name, err, row.kind)
		}
	}
}

// withoutCall returns an error of the same kind and nothing else.
func withoutCall(err error) error {
	if e, ok := err.(*Error); ok {
		return &Error{Kind: e.Kind}
	}
	return err
}
