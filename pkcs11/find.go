// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/miekg/pkcs11"
)

// maxObjects bounds what is read of one token, so that a shared partition with
// a very large number of objects is an error and not an endless search.
const maxObjects = 4096

// object is an object on a token with the attributes that URIs select by.
type object struct {
	handle pkcs11.ObjectHandle
	label  string
	id     []byte
}

// search lists the handles of the objects that have all attributes of the
// template. Where there are more than maxObjects, the first come with an error of
// KindManyObjects.
func (c *calls) search(s pkcs11.SessionHandle, template ...*pkcs11.Attribute) (handles []pkcs11.ObjectHandle, err error) {
	if err := c.findObjectsInit(s, template); err != nil {
		return nil, err
	}
	// A search that stays active would make the next one on this session fail.
	defer func() {
		if errFinal := c.findObjectsFinal(s); err == nil {
			err = errFinal
		}
	}()
	for {
		found, err := c.findObjects(s, 64)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return handles, nil
		}
		if handles = append(handles, found...); len(handles) > maxObjects {
			return handles[:maxObjects], newError(KindManyObjects, "the token holds more than %d objects of one class, which is more than are read", maxObjects)
		}
	}
}

// find lists the objects of a class (CKO_…) that the URI selects by object
// and id. The token is asked to search first. Some tokens don't find by CKA_ID
// (Google's libkmsp11), so where nothing is found all objects are compared here;
// if those are too many, the token's word is good.
func (c *calls) find(s pkcs11.SessionHandle, class uint, u URI) ([]object, error) {
	template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if label, present := u.Value(AttrObject); present {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if id, present := u.Value(AttrID); present {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	}
	selected, err := c.matching(s, u, template...)
	if err != nil || len(selected) > 0 || len(template) == 1 {
		return selected, err
	}
	selected, err = c.matching(s, u, template[0])
	if IsKind(err, KindManyObjects) {
		return nil, nil
	}
	return selected, err
}

// matching searches by a template, and compares what is found with the URI.
func (c *calls) matching(s pkcs11.SessionHandle, u URI, template ...*pkcs11.Attribute) ([]object, error) {
	handles, err := c.search(s, template...)
	if err != nil {
		return nil, err
	}
	var selected []object
	for _, handle := range handles {
		o, err := c.object(s, handle)
		if err != nil {
			return nil, err
		}
		if u.matches(o.attributes()) {
			selected = append(selected, o)
		}
	}
	return selected, nil
}

// near lists the objects of a class that go with a private key by their names:
// those with its CKA_ID and label, then with its CKA_ID, then with its label,
// since on some tokens only one is kept. There the token's search is all.
func (c *calls) near(s pkcs11.SessionHandle, class uint, key object) ([]object, error) {
	var found []object
	for _, u := range key.siblings() {
		template := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
		if id, present := u.Value(AttrID); present {
			template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
		}
		if label, present := u.Value(AttrObject); present {
			template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
		}
		objects, err := c.matching(s, u, template...)
		if err != nil && !IsKind(err, KindManyObjects) { // a name that thousands have in common is none
			return nil, err
		}
		for _, o := range objects {
			if !slices.ContainsFunc(found, func(f object) bool { return f.handle == o.handle }) {
				found = append(found, o)
			}
		}
	}
	return nearestFirst(key, found), nil
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

func (c *calls) object(s pkcs11.SessionHandle, handle pkcs11.ObjectHandle) (object, error) {
	values, err := c.read(s, handle, pkcs11.CKA_LABEL, pkcs11.CKA_ID)
	if err != nil {
		return object{}, err
	}
	return object{handle: handle, label: string(values[pkcs11.CKA_LABEL]), id: values[pkcs11.CKA_ID]}, nil
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

// read reads attributes of an object. Those that the object doesn't have or
// doesn't show are missing in the result, and so are those that the module can't
// read, whatever it says of them, as long as it can read one. Which of them were
// needed is the caller's to know.
func (c *calls) read(s pkcs11.SessionHandle, handle pkcs11.ObjectHandle, types ...uint) (map[uint][]byte, error) {
	template := make([]*pkcs11.Attribute, len(types))
	for i, t := range types {
		template[i] = pkcs11.NewAttribute(t, nil)
	}
	values := make(map[uint][]byte, len(types))
	attributes, err := c.attributes(s, handle, template)
	switch _, rv := returned(err); {
	case err == nil:
		for _, a := range attributes {
			values[a.Type] = a.Value
		}
		return values, nil
	case len(types) == 1 && isMissingAttribute(rv):
		return values, nil
	case len(types) == 1 || isLost(rv) || IsKind(failed(err, ""), KindAnswer):
		return values, err
	}
	// One that is missing fails them all in this binding: one by one, then.
	var first error
	for _, t := range types {
		one, err := c.read(s, handle, t)
		if value, present := one[t]; present {
			values[t] = value
		}
		first = cmp.Or(first, err)
	}
	if len(values) > 0 {
		return values, nil
	}
	return values, first
}

// isOfOneObject reports whether the error of a read need be of nothing but its
// object: the session, the token and the module are still there, as far as it says.
func isOfOneObject(err error) bool {
	switch _, rv := returned(err); rv {
	case pkcs11.CKR_OK, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN,
		pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID,
		pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED:
		return false
	}
	return !IsKind(failed(err, ""), KindAnswer)
}

func isMissingAttribute(rv uint) bool {
	return rv == pkcs11.CKR_ATTRIBUTE_TYPE_INVALID || rv == pkcs11.CKR_ATTRIBUTE_SENSITIVE
}

// ulongSize is the size of a CK_ULONG: 8 bytes, 4 on Windows.
var ulongSize = len(pkcs11.NewAttribute(0, uint(0)).Value)

// ulongs decodes an attribute that is an array of CK_ULONG, in the machine's
// byte order. What doesn't fill a whole one is left out.
func ulongs(value []byte) []uint {
	var list []uint
	for ; len(value) >= ulongSize; value = value[ulongSize:] {
		if ulongSize == 4 {
			list = append(list, uint(binary.NativeEndian.Uint32(value)))
		} else {
			list = append(list, uint(binary.NativeEndian.Uint64(value)))
		}
	}
	return list
}

// isTrue decodes a CK_BBOOL; absent is false.
func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// findOne finds the private key, which must be exactly one.
func (k *Key) findOne(s pkcs11.SessionHandle) (object, error) {
	calls, token := k.token.calls, k.token.ShortURI()
	found, err := calls.find(s, pkcs11.CKO_PRIVATE_KEY, k.uri)
	if err != nil {
		return object{}, asError(err, "the private keys on the token %s can't be listed", token)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		all, err := calls.find(s, pkcs11.CKO_PRIVATE_KEY, URI{})
		switch {
		case IsKind(err, KindManyObjects):
			return object{}, newError(KindNoKey, "no private key matches %s; there are more than %d others", k.uri.selection(), maxObjects)
		case err != nil:
			return object{}, asError(err, "the private keys on the token %s can't be listed", token)
		}
		if len(all) == 0 {
			return object{}, newError(KindNoKey, "the token %s shows no private key", token)
		}
		return object{}, noKey(k.uri, k.token, all)
	}
	return object{}, severalKeys(k.uri, k.token, found)
}

// isNamedAlike reports whether no URI can tell two objects of a class apart.
func (o object) isNamedAlike(other object) bool {
	return o.label == other.label && bytes.Equal(o.id, other.id)
}
