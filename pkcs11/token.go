// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
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
	calls       *calls
	module      *Module
	maxSessions uint     // as the token states it; 0 and very many are no limit
	siblings    []*Token // those of the module, this one too
}

// Token returns the one initialized token that the URI selects. If there is
// none, or several, the error has the URIs of what there is (KindNoToken,
// KindTokens), or says what is missing (KindNoDevice, KindBlankToken).
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
	initialized := slices.DeleteFunc(slices.Clone(all), func(t *Token) bool { return !t.Has(FlagInitialized) })
	var matching []*Token
	for _, t := range initialized {
		if u.matches(t.attributes()) {
			matching = append(matching, t)
		}
	}
	switch {
	case len(matching) == 1:
		return matching[0], nil
	case len(matching) > 1:
		return nil, newError(KindTokens, "several tokens of the PKCS#11 module %q match %s", m.path, u.Selection()).
			withTodo(chooseToken(shortURIs(matching))).withCandidates(shortURIs(matching))
	case unreadable != nil && (len(initialized) == 0 || !IsKind(unreadable, KindNoDevice)):
		return nil, unreadable // it may be that one
	case len(initialized) == 0:
		return nil, m.nothingIn(all)
	}
	todo := useOneToken
	if near := nearest(u, initialized); near != "" {
		todo = "Use " + near + " if you mean this token"
	}
	return nil, newError(KindNoToken, "no token of the PKCS#11 module %q matches %s", m.path, u.Selection()).
		withTodo(todo).withCandidates(shortURIs(initialized))
}

const useOneToken = "Use one of these tokens in the key URI"

// chooseToken says how to decide between tokens. Those that differ in nothing but the
// slot may be one, behind p11-kit's proxy.
func chooseToken(uris []URI) string {
	for _, u := range uris {
		if _, bySlot := u.Value(AttrSlotID); bySlot {
			return "Set module-path, since p11-kit's proxy may show one token through two modules"
		}
	}
	return useOneToken
}

// nearest returns the URI of a token that could be the one which a URI means,
// with what the URI says of the key. Labels don't last: drivers name the same
// card differently from one release to the next. Empty: there is none, or more
// than one.
func nearest(u URI, tokens []*Token) string {
	label, _ := u.Value(AttrToken)
	serial, _ := u.Value(AttrSerial)
	for _, alike := range []func(*Token) bool{
		func(t *Token) bool { return serial != "" && trimPadding(serial) == t.Serial },
		func(t *Token) bool { return beginAlike(label, t.Label) },
	} {
		var found []*Token
		for _, t := range tokens {
			if alike(t) {
				found = append(found, t)
			}
		}
		if len(found) == 1 {
			near := found[0].ShortURI()
			for _, name := range []string{AttrObject, AttrID, AttrType} {
				if value, present := u.Value(name); present {
					near = near.With(name, value)
				}
			}
			return near.String()
		}
	}
	return ""
}

// beginAlike reports whether one label is the beginning of the other, in any
// case of letters.
func beginAlike(a, b string) bool {
	const least = 3 // bytes, for a likeness that means something
	a, b = strings.ToLower(trimPadding(a)), strings.ToLower(b)
	return min(len(a), len(b)) >= least && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// nothingIn says what is missing where the module shows no initialized token.
func (m *Module) nothingIn(tokens []*Token) *Error {
	if len(tokens) > 0 {
		return newError(KindBlankToken, "the PKCS#11 module %q shows no initialized token", m.path)
	}
	if err := m.missingService(); err != nil {
		return err
	}
	// Where it fails, nothing is known of slots.
	if slots, err := m.calls.allSlots(); err == nil && len(slots) > 0 {
		return newError(KindNoDevice, "the PKCS#11 module %q shows no token: its slots are empty, such as readers without a card", m.path)
	}
	return newError(KindNoDevice, "the PKCS#11 module %q shows no token and no slot: a device is not plugged in, or a remote token's server is down", m.path)
}

// missingService says that the service is away through which the module reaches
// its devices; nil where it isn't, or where the module uses none that is known.
func (m *Module) missingService() *Error {
	if !smartCardServiceIsAway() {
		return nil
	}
	return newError(KindNoDevice, "the PKCS#11 module %q shows no token: it reads smart cards through PC/SC, whose service (pcscd) doesn't answer", m.path).withTodo("Start the PC/SC service (pcscd)")
}

// Tokens returns every token that the module shows, with what it says of its
// slots. Tokens that were never initialized lack FlagInitialized. That there is
// none is an error, of KindNoDevice, where the service is away through which the
// module reaches them.
func (m *Module) Tokens() ([]*Token, error) {
	tokens, unreadable, err := m.tokens(true)
	if err == nil && !IsKind(unreadable, KindNoDevice) {
		err = unreadable
	}
	if err == nil && len(tokens) == 0 {
		if missing := m.missingService(); missing != nil {
			return nil, missing
		}
	}
	return tokens, err
}

// tokens lists the tokens. One that can't be read, such as another vendor's
// behind p11-kit's proxy, must not keep others from being used. What is known of
// it is the second result, of KindNoDevice where there is none in the slot.
func (m *Module) tokens(withSlots bool) (tokens []*Token, unreadable, err error) {
	// Always the first call: some modules know no slot before it.
	slots, err := m.calls.slots()
	if err != nil {
		if missing := m.missingService(); missing != nil {
			return nil, nil, missing.withCall(returned(err))
		}
		return nil, nil, failed(err, "the PKCS#11 module %q doesn't list its slots", m.path)
	}
	for _, slot := range slots {
		info, err := m.calls.tokenInfo(slot)
		switch call, rv := returned(err); rv {
		case pkcs11.CKR_OK:
		case pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED:
			if unreadable == nil { // pulled out since, or not a token of this module
				unreadable = newError(KindNoDevice, "the PKCS#11 module %q shows no initialized token, and none that it knows in slot %d", m.path, slot).withCall(call, rv)
			}
			continue
		default:
			unreadable = failed(err, "the PKCS#11 module %q doesn't describe the token in slot %d", m.path, slot)
			continue
		}
		t := &Token{calls: m.calls, module: m, maxSessions: info.MaxSessionCount, TokenInfo: newTokenInfo(slot, info)}
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

func newTokenInfo(slot uint, info pkcs11.TokenInfo) TokenInfo {
	return TokenInfo{
		SlotID:       slot,
		Label:        trimPadding(info.Label),
		Manufacturer: trimPadding(info.ManufacturerID),
		Model:        trimPadding(info.Model),
		Serial:       trimPadding(info.SerialNumber),
		Flags:        info.Flags,
	}
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
			m.path, u.Selection(), escape(library[AttrLibraryManufacturer], pathComponent), escape(library[AttrLibraryDescription], pathComponent), version).
			withTodo("Correct the library attributes of the key URI, or set another module")
	}
	return nil
}
