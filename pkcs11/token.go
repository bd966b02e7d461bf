// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/pkcs11"
)

// TokenInfo describes a token and the slot it is in. Texts come from the token:
// escape them where you show them (URI does).
type TokenInfo struct {
	SlotID           uint
	SlotDescription  string // empty where it was not asked for
	SlotManufacturer string // likewise
	Label            string
	Manufacturer     string
	Model            string
	Serial           string
	Flags            uint // CKF_… of CK_TOKEN_INFO, section 3.2
}

// Flags of a token that callers of this package care for (section 3.2, CK_TOKEN_INFO).
const (
	FlagWriteProtected = pkcs11.CKF_WRITE_PROTECTED
	FlagLoginRequired  = pkcs11.CKF_LOGIN_REQUIRED
	FlagPINPad         = pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH
	FlagInitialized    = pkcs11.CKF_TOKEN_INITIALIZED
	FlagPINSet         = pkcs11.CKF_USER_PIN_INITIALIZED
	FlagPINCountLow    = pkcs11.CKF_USER_PIN_COUNT_LOW
	FlagPINFinalTry    = pkcs11.CKF_USER_PIN_FINAL_TRY
	FlagPINLocked      = pkcs11.CKF_USER_PIN_LOCKED
	FlagPINToBeChanged = pkcs11.CKF_USER_PIN_TO_BE_CHANGED
)

// Has reports whether the token has all of the flags.
func (t TokenInfo) Has(flags uint) bool { return t.Flags&flags == flags }

// URI returns the URI that selects this token wherever it is plugged in: by
// manufacturer, model, serial number and label, not by slot.
func (t TokenInfo) URI() URI {
	u := URI{}
	for name, value := range t.attributes() {
		switch name {
		case AttrToken, AttrSerial, AttrManufacturer, AttrModel:
			u = u.With(name, value)
		}
	}
	return u
}

// attributes are the token's values of the URI attributes that select tokens.
func (t TokenInfo) attributes() map[string]string {
	return map[string]string{
		AttrToken:            t.Label,
		AttrManufacturer:     t.Manufacturer,
		AttrModel:            t.Model,
		AttrSerial:           t.Serial,
		AttrSlotID:           strconv.FormatUint(uint64(t.SlotID), 10),
		AttrSlotDescription:  t.SlotDescription,
		AttrSlotManufacturer: t.SlotManufacturer,
	}
}

// Token is a token that is present in a slot of a module.
type Token struct {
	TokenInfo
	calls    *calls
	siblings []*Token // those of the module, this one too
}

// Token returns the one initialized token that the URI selects. If there is
// none, or several, the error (KindNoToken, KindTokens) lists the URIs of what
// there is.
func (m *Module) Token(u URI) (*Token, error) {
	if err := m.checkLibrary(u); err != nil {
		return nil, err
	}
	_, description := u.Value(AttrSlotDescription)
	_, manufacturer := u.Value(AttrSlotManufacturer)
	all, unreadable, err := m.tokens(description || manufacturer)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(t *Token) bool { return !t.Has(FlagInitialized) })
	var matching []*Token
	for _, t := range all {
		if u.matches(t.attributes()) {
			matching = append(matching, t)
		}
	}
	switch len(matching) {
	case 1:
		return matching[0], nil
	case 0:
		if unreadable != nil && (len(all) == 0 || !IsKind(unreadable, KindNoToken)) {
			return nil, unreadable // it may be that one
		}
		if len(all) == 0 {
			return nil, newError(KindNoToken, "the PKCS#11 module %q shows no initialized token (a remote token whose server is down looks like this, too)", m.path)
		}
		return nil, newError(KindNoToken, "no token of the PKCS#11 module %q matches %s; there %s", m.path, u.selection(), listURIs(tokenURIs(all)))
	}
	return nil, newError(KindTokens, "several tokens of the PKCS#11 module %q match %s; there %s", m.path, u.selection(), listURIs(tokenURIs(matching)))
}

// Tokens returns every token that the module shows, with what it says of its
// slots. Tokens that were never initialized lack FlagInitialized.
func (m *Module) Tokens() ([]*Token, error) {
	tokens, unreadable, err := m.tokens(true)
	if IsKind(unreadable, KindNoToken) {
		return tokens, nil
	}
	return tokens, errors.Join(err, unreadable)
}

// tokens lists the tokens. One that can't be read, such as another vendor's
// behind p11-kit's proxy, must not keep others from being used. What is known of
// it is the second result, of KindNoToken where there is none in the slot.
func (m *Module) tokens(withSlots bool) (tokens []*Token, unreadable, err error) {
	// Always the first call: some modules know no slot before it.
	slots, err := m.calls.slots()
	if err != nil {
		return nil, nil, failed(err, "the PKCS#11 module %q doesn't list its slots", m.path)
	}
	for _, slot := range slots {
		info, err := m.calls.tokenInfo(slot)
		switch call, rv := returned(err); rv {
		case pkcs11.CKR_OK:
		case pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED:
			if unreadable == nil { // pulled out since, or not a token of this module
				unreadable = newError(KindNoToken, "the PKCS#11 module %q shows no initialized token, and none that it knows in slot %d", m.path, slot).withCall(call, rv)
			}
			continue
		default:
			unreadable = failed(err, "the PKCS#11 module %q doesn't describe the token in slot %d", m.path, slot)
			continue
		}
		t := &Token{calls: m.calls, TokenInfo: TokenInfo{
			SlotID:       slot,
			Label:        trimPadding(info.Label),
			Manufacturer: trimPadding(info.ManufacturerID),
			Model:        trimPadding(info.Model),
			Serial:       trimPadding(info.SerialNumber),
			Flags:        info.Flags,
		}}
		if withSlots {
			info, err := m.calls.slotInfo(slot)
			if err != nil {
				unreadable = failed(err, "the PKCS#11 module %q doesn't describe slot %d", m.path, slot)
				continue
			}
			t.SlotDescription, t.SlotManufacturer = trimPadding(info.SlotDescription), trimPadding(info.ManufacturerID)
		}
		tokens = append(tokens, t)
	}
	siblings := slices.Clone(tokens) // callers change theirs
	for _, t := range tokens {
		t.siblings = siblings
	}
	return tokens, unreadable, nil
}

// trimPadding cuts off the blanks that the specification pads with, and the
// zeros that some modules use.
func trimPadding(s string) string { return strings.TrimRight(s, " \x00") }

// checkLibrary compares the URI's library-… attributes with the module.
func (m *Module) checkLibrary(u URI) error {
	asked := false
	for _, name := range []string{AttrLibraryManufacturer, AttrLibraryDescription, AttrLibraryVersion} {
		_, present := u.Value(name)
		asked = asked || present
	}
	if !asked {
		return nil
	}
	info, err := m.calls.info()
	if err != nil {
		return failed(err, "the PKCS#11 module %q doesn't describe itself", m.path)
	}
	version := fmt.Sprintf("%d.%d", info.LibraryVersion.Major, info.LibraryVersion.Minor)
	if v, present := u.Value(AttrLibraryVersion); present && !strings.Contains(v, ".") {
		version = strconv.Itoa(int(info.LibraryVersion.Major)) // RFC 7512, section 2.3: no minor version means any
	}
	library := map[string]string{
		AttrLibraryManufacturer: trimPadding(info.ManufacturerID),
		AttrLibraryDescription:  trimPadding(info.LibraryDescription),
		AttrLibraryVersion:      version,
	}
	if !u.matches(library) {
		return newError(KindNoToken, "the PKCS#11 module %q is not the library that %s names; it is library-manufacturer=%s;library-description=%s;library-version=%s",
			m.path, u.selection(), escape(library[AttrLibraryManufacturer], pathComponent), escape(library[AttrLibraryDescription], pathComponent), version)
	}
	return nil
}

// selection is the URI as errors show it: what selects, without the query.
func (u URI) selection() URI {
	return u.Without(AttrModulePath, AttrModuleName, AttrPINSource)
}

func tokenURIs(tokens []*Token) []URI {
	uris := make([]URI, len(tokens))
	for i, t := range tokens {
		uris[i] = t.URI()
	}
	return uris
}

// listURIs lists candidates for an error.
func listURIs(uris []URI) string {
	const most = 10
	texts := make([]string, 0, most)
	for i, u := range uris {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(uris)-most))
			break
		}
		texts = append(texts, u.String())
	}
	verb := "are"
	if len(uris) == 1 {
		verb = "is"
	}
	return verb + " " + strings.Join(texts, ", ")
}
