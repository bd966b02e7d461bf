// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"slices"
)

// The URIs that lists, errors and new keys suggest are all made here: short ones,
// for people to read and paste.

// Sets of attributes by which a URI can select, the most readable first. A label
// says more than a serial number or a CKA_ID; the slot is the last resort, since a
// token moves.
var (
	tokenSets = [][]string{
		{AttrToken},
		{AttrSerial},
		{AttrToken, AttrSerial},
		{AttrToken, AttrSerial, AttrModel, AttrManufacturer},
		{AttrToken, AttrSerial, AttrModel, AttrManufacturer, AttrSlotID},
	}
	objectSets = [][]string{{AttrObject}, {AttrID}, {AttrObject, AttrID}}
)

// shortURI returns the URI with the first of the sets that selects what has these
// values, and nothing else that is there; with the last set, if none does. Empty
// values select, too, but are easily overlooked: they are added where it takes them.
func shortURI(values map[string]string, there []map[string]string, sets [][]string) URI {
	var u URI
	for _, names := range sets {
		whole := URI{}
		u = URI{}
		for _, name := range names {
			if whole = whole.With(name, values[name]); values[name] != "" {
				u = u.With(name, values[name])
			}
		}
		if len(u.values) == 0 {
			continue
		}
		for _, candidate := range []URI{u, whole} {
			if candidate.selectsOneOf(there) {
				return candidate
			}
		}
	}
	return u
}

func (u URI) selectsOneOf(there []map[string]string) bool {
	matching := 0
	for _, values := range there {
		if u.matches(values) {
			matching++
		}
	}
	return matching == 1
}

// and returns a copy of u with the attributes of other, too.
func (u URI) and(other URI) URI {
	for name, value := range other.values {
		u = u.With(name, value)
	}
	return u
}

// ShortURI returns the URI that selects this token among the initialized ones of its
// module: by its label and, only where that is not enough, by more.
func (t *Token) ShortURI() URI {
	var there []map[string]string
	for _, other := range t.siblings {
		if other.Has(FlagInitialized) {
			there = append(there, other.attributes())
		}
	}
	return shortURI(t.attributes(), there, tokenSets)
}

// shortURIs name tokens, for a user who has to choose.
func shortURIs(tokens []*Token) []URI {
	uris := make([]URI, len(tokens))
	for i, t := range tokens {
		uris[i] = t.ShortURI()
	}
	return uris
}

// objectURIs returns the URIs that select objects of a class among all of it on
// their token. Two that have both label and CKA_ID in common have the same one,
// which selects both.
func objectURIs(token *Token, objects, all []object) []URI {
	short, there := token.ShortURI(), make([]map[string]string, len(all))
	for i, o := range all {
		there[i] = o.attributes()
	}
	uris := make([]URI, len(objects))
	for i, o := range objects {
		uris[i] = short.and(shortURI(o.attributes(), there, objectSets))
	}
	return uris
}

// ShortURIs returns, of keys that show these attributes as Key.Shown does, the URIs
// that select each of them among the others.
func ShortURIs(shown []URI) []URI {
	var sets [][]string
	for _, token := range tokenSets {
		for _, object := range objectSets {
			sets = append(sets, slices.Concat(token, object))
		}
	}
	there := make([]map[string]string, len(shown))
	for i, u := range shown {
		there[i] = u.values
	}
	uris := make([]URI, len(shown))
	for i, values := range there {
		uris[i] = shortURI(values, there, sets)
	}
	return uris
}

// objectURIs is objectURIs of objects of which it isn't known what else is there. Where
// that can't be learned, the URIs have both the label and the CKA_ID.
func (v *inventory) objectURIs(token *Token, class uint, objects []object) []URI {
	all, err := v.find(class, URI{})
	if err != nil {
		uris := make([]URI, len(objects))
		for i, o := range objects {
			uris[i] = o.uri(token.ShortURI())
		}
		return uris
	}
	return objectURIs(token, objects, all)
}
