// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/miekg/pkcs11"
)

// noKey says that none of the private keys on a token matches a URI. An id that
// was written as a number, and not byte by byte, is the likely cause where there
// is a key with that number.
func noKey(u URI, token *Token, all []object) *Error {
	e := newError(KindNoKey, "no private key matches %s", u.Selection()).withTodo(useOneKey)
	if number, given := u.Value(AttrID); given {
		if len(number)%2 == 1 {
			number = "0" + number
		}
		id, err := hex.DecodeString(number)
		if err == nil && slices.ContainsFunc(all, func(o object) bool { return string(o.id) == string(id) }) {
			e.Todo = fmt.Sprintf("Write id=%s: the bytes of an id are hexadecimal", escapeAll(string(id)))
		}
	}
	return e.withCandidates(objectURIs(token, all, all))
}

const useOneKey = "Use one of these keys in the key URI"

// severalKeys says that a URI doesn't decide between private keys, and whether
// another one could.
func severalKeys(u URI, token *Token, found []object, v *inventory) *Error {
	if !slices.ContainsFunc(found, func(o object) bool { return !o.isNamedAlike(found[0]) }) {
		return sameName(found[0].uri(token.ShortURI()))
	}
	return newError(KindKeys, "several private keys match %s", u.Selection()).withTodo(useOneKey).withCandidates(v.objectURIs(token, pkcs11.CKO_PRIVATE_KEY, found))
}

func sameName(u URI) *Error {
	return newError(KindSameName, "several private keys have the same label and the same CKA_ID, so that no key URI can tell them apart: %s", u)
}
