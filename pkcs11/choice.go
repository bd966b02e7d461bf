// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"encoding/hex"
	"slices"
)

// noKey says that none of the private keys on a token matches a URI. An id that
// was written as a number, and not byte by byte, is the likely cause where there
// is a key with that number.
func noKey(u URI, token *Token, all []object) *Error {
	e := newError(KindNoKey, "no private key matches %s", u.Selection())
	if number, given := u.Value(AttrID); given {
		if len(number)%2 == 1 {
			number = "0" + number
		}
		id, err := hex.DecodeString(number)
		if err == nil && slices.ContainsFunc(all, func(o object) bool { return string(o.id) == string(id) }) {
			e.Message += "; an id is written byte by byte, so did you mean id=" + escapeAll(string(id))
		}
	}
	return e.withCandidates(objectURIs(token, all))
}

// severalKeys says that a URI doesn't decide between private keys, and whether
// another one could.
func severalKeys(u URI, token *Token, found []object) *Error {
	uris := objectURIs(token, found)
	if !slices.ContainsFunc(found, func(o object) bool { return !o.isNamedAlike(found[0]) }) {
		return sameName(uris[0])
	}
	return newError(KindKeys, "several private keys match %s", u.Selection()).withCandidates(uris)
}

func sameName(u URI) *Error {
	return newError(KindSameName, "several private keys have the same label and the same CKA_ID, so that no key URI can tell them apart: %s", u)
}

// objectURIs name objects on a token, for a user who has to choose.
func objectURIs(token *Token, objects []object) []URI {
	short := token.ShortURI()
	uris := make([]URI, len(objects))
	for i, o := range objects {
		uris[i] = o.uri(short)
	}
	return uris
}
