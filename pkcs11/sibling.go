// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"context"
	"strings"

	"github.com/miekg/pkcs11"
)

// Sibling opens another private key of the same token, with the sessions and the
// login of this one: there is no second login. The sibling lives as long as this
// key does. Of the options the certificates count alone. Errors are those of
// Token.Key, or of KindTokens or KindNoToken where the URI doesn't select the token.
// It must not be called while either key signs.
func (k *Key) Sibling(ctx context.Context, u URI, o KeyOptions) (*Key, error) {
	token, err := k.token.module.Token(u)
	if err != nil {
		return nil, err
	}
	if token.SlotID != k.token.SlotID {
		return nil, newError(KindNoToken, "%s selects the token %s, and the login is to the token %s", u.Selection(), token.ShortURI(), k.token.ShortURI())
	}
	sibling, err := k.token.newKey(u, o)
	if err != nil {
		return nil, err
	}
	sibling.sessions, sibling.login, sibling.sibling = k.sessions, k.login, true
	s, err := k.sessions.acquire()
	if err != nil {
		return nil, asError(err, "no session with the token %s can be opened", k.token.ShortURI())
	}
	k.sessions.release(s, true) // what settles on the key may take one itself
	if err := sibling.find(ctx, s); err != nil {
		return nil, err
	}
	k.sessions.share(sibling.findAgain)
	return sibling, nil
}

// findAgain does for a sibling what resume does for the key that has the login. Of
// a key that is gone the next signature says so.
func (k *Key) findAgain(s pkcs11.SessionHandle) {
	o, err := k.findOne(k.token.calls.inventory(s))
	if err != nil {
		o = object{}
	}
	k.handle.Store(uint64(o.handle))
}

// share has a function called for each session that takes up where others were
// lost.
func (p *sessions) share(findAgain func(pkcs11.SessionHandle)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.others = append(p.others, findAgain)
}

// Shown returns the URI of the key with everything by which a URI could have
// selected it here: what the library, the slot and the token show, too. What the
// module doesn't tell is left out.
func (k *Key) Shown() URI {
	u := k.URI().With(AttrType, "private")
	info := k.token.TokenInfo
	if slot, err := k.token.calls.slotInfo(info.SlotID); err == nil {
		info.SlotDescription, info.SlotManufacturer = trimPadding(slot.SlotDescription), trimPadding(slot.ManufacturerID)
	}
	for name, value := range info.attributes() {
		u = u.With(name, value)
	}
	if library, err := k.token.module.Info(); err == nil {
		u = u.With(AttrLibraryManufacturer, library.Manufacturer).With(AttrLibraryDescription, library.Description).With(AttrLibraryVersion, library.Version)
	}
	return u
}

// Selects reports whether u selects the key or token that shows these attributes:
// each attribute of u but those of its query is there and equal, but for padding. A
// library-version without a minor one takes any.
func (u URI) Selects(shown URI) bool {
	for _, a := range attributes {
		want, present := u.values[a.name]
		if !present || a.in == queryComponent {
			continue
		}
		value := shown.values[a.name]
		if a.name == AttrLibraryVersion && !strings.Contains(want, ".") {
			value, _, _ = strings.Cut(value, ".")
		}
		if a.padded {
			want = trimPadding(want)
		}
		if want != value {
			return false
		}
	}
	return true
}
