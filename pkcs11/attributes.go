// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/miekg/pkcs11"
)

// What is read of an object, in one call: what all have first, since some modules stop
// at the first attribute that they lack.
var (
	keyAttributes = []uint{
		pkcs11.CKA_CLASS, pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_KEY_TYPE, pkcs11.CKA_SIGN,
		pkcs11.CKA_ALWAYS_AUTHENTICATE, pkcs11.CKA_ALLOWED_MECHANISMS,
		pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT,
	}
	// Never of an object that may be a key: the value of an EC key is its secret.
	certificateAttributes = []uint{pkcs11.CKA_LABEL, pkcs11.CKA_ID, pkcs11.CKA_VALUE}
)

// room is how many bytes there are for an attribute that is read with others.
type room struct {
	bytes uint
	// enough is whether no longer value is of use, so that a module which has one can as
	// well have none.
	enough bool
}

// roomFor returns the room for an attribute: a byte more than any value has that is to be
// read at once. With a value as long as its room the module has written nothing, mostly.
func roomFor(attribute uint) room {
	switch attribute {
	case pkcs11.CKA_LABEL, pkcs11.CKA_ID:
		return room{256 + 1, false}
	case pkcs11.CKA_VALUE: // of a certificate
		return room{4096 + 1, false}
	case pkcs11.CKA_CLASS, pkcs11.CKA_KEY_TYPE:
		return room{uint(ulongSize) + 1, true}
	case pkcs11.CKA_ALLOWED_MECHANISMS:
		return room{uint(128*ulongSize) + 1, true}
	case pkcs11.CKA_MODULUS, pkcs11.CKA_EC_PARAMS:
		return room{2048 + 1, true}
	case pkcs11.CKA_PUBLIC_EXPONENT, pkcs11.CKA_EC_POINT:
		return room{512 + 1, true}
	}
	return room{1 + 1, true} // a CK_BBOOL
}

// read reads attributes of an object. Those that the object doesn't have or
// doesn't show are missing in the result, and so are those that the module can't
// read, whatever it says of them, as long as it can read one. Which of them were
// needed is the caller's to know.
func (c *calls) read(s pkcs11.SessionHandle, handle pkcs11.ObjectHandle, types ...uint) (map[uint][]byte, error) {
	values, err := c.readSome(s, handle, types...)
	if len(values) > 0 {
		return values, nil
	}
	return values, err
}

// readSome is read with the first error that reading one of the attributes had, whether
// others have a value or not. It takes one call, and one or two more for each attribute of
// which the first call leaves open whether there is a value.
func (c *calls) readSome(s pkcs11.SessionHandle, handle pkcs11.ObjectHandle, types ...uint) (map[uint][]byte, error) {
	rooms := make([]uint, len(types))
	for i, t := range types {
		rooms[i] = roomFor(t).bytes
	}
	list, err := c.attributes(s, handle, types, rooms)
	_, rv := returned(err)
	switch {
	case len(types) == 1 && isMissingAttribute(rv):
		return nil, nil
	case isLost(rv) && rv != pkcs11.CKR_OBJECT_HANDLE_INVALID, err != nil && IsKind(failed(err, ""), KindAnswer), len(types) == 1 && err != nil && rv != pkcs11.CKR_BUFFER_TOO_SMALL:
		return nil, err
	}
	values, open := settle(types, list, rv)
	var first error
	for _, t := range open {
		value, err := c.attribute(s, handle, t)
		switch _, rv := returned(err); {
		case err == nil && value != nil:
			values[t] = value
		case !isMissingAttribute(rv):
			first = cmp.Or(first, err)
		}
	}
	return values, first
}

// settle takes the values out of what a module answered with the return value rv, and
// lists the attributes of which that leaves open whether there is a value. One that is
// withheld beside others is not there, if it can't be that its value is only longer than
// the room for it.
func settle(types []uint, list []answered, rv uint) (values map[uint][]byte, open []uint) {
	values = map[uint][]byte{}
	for i, a := range list {
		if a.value != nil {
			values[types[i]] = a.value
		}
	}
	if len(values) == 0 {
		return values, types
	}
	for i, t := range types {
		if a := list[i]; a.value == nil && (!a.withheld || rv != pkcs11.CKR_OK && !(isMissingAttribute(rv) && roomFor(t).enough)) {
			open = append(open, t)
		}
	}
	return values, open
}

// answered is what a module says of one attribute among several. Where it is neither a
// value nor withheld, the module has written nothing, or a value that takes all the room.
type answered struct {
	value    []byte
	withheld bool // CK_UNAVAILABLE_INFORMATION
}

// answers takes apart what a module wrote: the data, in which each attribute has its room,
// and the lengths of the values. With CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE
// and CKR_BUFFER_TOO_SMALL the other attributes have their values all the same (section
// 5.7); with another error there are none.
func answers(rv uint, data []byte, rooms, lengths []uint) ([]answered, error) {
	if rv != pkcs11.CKR_OK && rv != pkcs11.CKR_BUFFER_TOO_SMALL && !isMissingAttribute(rv) {
		return nil, pkcs11.Error(rv)
	}
	list := make([]answered, len(rooms))
	for i, room := range rooms {
		switch length := lengths[i]; {
		case length == pkcs11.CK_UNAVAILABLE_INFORMATION:
			list[i].withheld = true
		case length < room && !isUnwritten(data[:length]):
			list[i].value = slices.Clone(data[:length]) // not all of the data with it
		case rv == pkcs11.CKR_OK && length > room: // it says that it has written them
			return nil, LengthError{length, room}
		case length > maxAnswer:
			return nil, LengthError{length, maxAnswer}
		}
		data = data[stride(room):]
	}
	if rv != pkcs11.CKR_OK {
		return list, pkcs11.Error(rv)
	}
	return list, nil
}

// filler is in the data before the module writes to it.
const filler = 0xA5

// isUnwritten reports whether a value ends in filler, so that the module has not written
// it, or not all of it.
func isUnwritten(value []byte) bool {
	const most = 4 // bytes, which a value ends in once in some thousand million times
	end := value[max(0, len(value)-most):]
	return len(end) > 0 && !slices.ContainsFunc(end, func(b byte) bool { return b != filler })
}

// stride is what an attribute takes of the data: a multiple of eight, so that modules
// may write a CK_ULONG there.
func stride(room uint) uint { return (room + 7) &^ 7 }

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
