// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"slices"

	"github.com/miekg/pkcs11"
)

// object is an object on a token with the attributes that URIs select by.
type object struct {
	handle pkcs11.ObjectHandle
	class  uint // CKO_…
	label  string
	id     []byte
	// values are those of keyAttributes or certificateAttributes, whichever were read.
	values map[uint][]byte
	// unread is why some of them could not be read. Nil: they are not there.
	unread error
}

// siblings are URIs of the objects that go with a private key.
func (o object) siblings() []URI {
	var uris []URI
	if len(o.id) > 0 {
		uris = append(uris, URI{}.With(AttrID, string(o.id)))
	}
	if o.label != "" {
		uris = append(uris, URI{}.With(AttrObject, o.label))
	}
	return uris
}

// nearestFirst orders objects by how much of a key's name they have.
func nearestFirst(key object, objects []object) []object {
	distance := func(o object) int {
		d := 3
		if len(key.id) > 0 && bytes.Equal(o.id, key.id) {
			d -= 2
		}
		if key.label != "" && o.label == key.label {
			d--
		}
		return d
	}
	slices.SortStableFunc(objects, func(a, b object) int { return distance(a) - distance(b) })
	return objects
}

// attributes are the object's values of the URI attributes that select objects.
func (o object) attributes() map[string]string {
	return map[string]string{AttrObject: o.label, AttrID: string(o.id)}
}

// uri returns the URI that selects the object on the token, as narrowly as its
// label and id allow.
func (o object) uri(token URI) URI {
	if o.label != "" {
		token = token.With(AttrObject, o.label)
	}
	if len(o.id) > 0 {
		token = token.With(AttrID, string(o.id))
	}
	return token
}

// findOne finds the private key, which must be exactly one.
func (k *Key) findOne(v *inventory) (object, error) {
	token := k.token.ShortURI()
	found, err := v.find(pkcs11.CKO_PRIVATE_KEY, k.uri)
	if err != nil {
		return object{}, asError(err, "the private keys on the token %s can't be listed", token)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		all, err := v.find(pkcs11.CKO_PRIVATE_KEY, URI{})
		switch {
		case IsKind(err, KindManyObjects):
			return object{}, newError(KindNoKey, "no private key matches %s; there are more than %d others", k.uri.Selection(), maxObjects)
		case err != nil:
			return object{}, asError(err, "the private keys on the token %s can't be listed", token)
		}
		if len(all) == 0 {
			return object{}, newError(KindNoKey, "the token %s shows no private key", token).withTodo("Check the token and the user type, or generate a key with notation-pkcs11 generate-key")
		}
		return object{}, noKey(k.uri, k.token, all)
	}
	return object{}, severalKeys(k.uri, k.token, found, v)
}

// isNamedAlike reports whether no URI can tell two objects of a class apart.
func (o object) isNamedAlike(other object) bool {
	return o.label == other.label && bytes.Equal(o.id, other.id)
}
