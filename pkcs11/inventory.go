// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"slices"

	"github.com/miekg/pkcs11"
)

// Bounds of what is read of one token.
const (
	// maxObjects makes a shared partition with a very large number of objects an error and
	// not an endless search.
	maxObjects = 4096
	// maxNamed is how many objects may have a name in common, whatever they are, to be
	// looked at; else those of one class are searched for.
	maxNamed = 32
	// fewCertificates are read at once: more take more calls than a search for those that
	// are needed.
	fewCertificates = 8
)

// inventory is what one session sees of a token, with each object read once: with a network
// HSM each call is a way there and back. It is for one goroutine and one piece of work;
// what comes onto the token meanwhile may not be in it.
type inventory struct {
	calls   *calls
	session pkcs11.SessionHandle

	objects map[pkcs11.ObjectHandle]object
	byName  map[string]named
	// listed is whether the token was asked for its certificates; few are all of them then,
	// or nil where there are too many.
	listed bool
	few    []pkcs11.ObjectHandle
}

// named is what a search by name alone found.
type named struct {
	objects []object
	usable  bool // false: the token doesn't say what they all are, or it can't search so
}

func (c *calls) inventory(s pkcs11.SessionHandle) *inventory {
	return &inventory{calls: c, session: s, objects: map[pkcs11.ObjectHandle]object{}, byName: map[string]named{}}
}

// anyClass is for objects of which the class isn't known before they are read.
const anyClass = ^uint(0)

// object reads an object.
func (v *inventory) object(handle pkcs11.ObjectHandle, class uint) (object, error) {
	if o, known := v.objects[handle]; known && (class == anyClass || class == o.class) {
		return o, nil
	}
	types := keyAttributes
	if class == pkcs11.CKO_CERTIFICATE {
		types = certificateAttributes
	}
	values, err := v.calls.readSome(v.session, handle, types...)
	if err != nil && len(values) == 0 {
		return object{}, err
	}
	o := object{handle: handle, class: class, label: string(values[pkcs11.CKA_LABEL]), id: values[pkcs11.CKA_ID], values: values, unread: err}
	if class == anyClass {
		told := ulongs(values[pkcs11.CKA_CLASS])
		if len(told) != 1 {
			return o, nil
		}
		o.class = told[0]
	}
	v.objects[handle] = o
	return o, nil
}

// search lists the handles of the objects that have all attributes of the
// template. Where there are more than maxObjects, the first come with an error of
// KindManyObjects.
func (c *calls) search(s pkcs11.SessionHandle, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	handles, more, err := c.searchFew(s, maxObjects, template...)
	if more {
		err = newError(KindManyObjects, "the token holds more than %d objects of one class, which is more than are read", maxObjects)
	}
	return handles, err
}

// searchFew lists the handles of the first objects that have all attributes of the
// template, and says whether there are more. Fewer than asked for are the last ones, as
// p11-kit and NSS take it, too.
func (c *calls) searchFew(s pkcs11.SessionHandle, most int, template ...*pkcs11.Attribute) (handles []pkcs11.ObjectHandle, more bool, err error) {
	if err := c.findObjectsInit(s, template); err != nil {
		return nil, false, err
	}
	// A search that stays active would make the next one on this session fail.
	defer func() {
		if errFinal := c.findObjectsFinal(s); err == nil {
			err = errFinal
		}
	}()
	for {
		ask := min(64, most+1-len(handles))
		found, err := c.findObjects(s, ask)
		if err != nil {
			return nil, false, err
		}
		if handles = append(handles, found...); len(handles) > most {
			return handles[:most], true, nil
		}
		if len(found) < ask {
			return handles, false, nil
		}
	}
}

func ofClass(class uint) *pkcs11.Attribute { return pkcs11.NewAttribute(pkcs11.CKA_CLASS, class) }

// templateOf has the attributes of a URI that select objects.
func templateOf(u URI) (template []*pkcs11.Attribute) {
	if label, present := u.Value(AttrObject); present {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if id, present := u.Value(AttrID); present {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	}
	return template
}

// named lists the objects of all classes that the URI selects by object and id: a key's two
// halves and its certificate have them in common, mostly, and so take one search.
func (v *inventory) named(u URI) (named, error) {
	template := templateOf(u)
	if len(template) == 0 {
		return named{}, nil
	}
	name := URI{}
	for _, attribute := range []string{AttrObject, AttrID} {
		if value, present := u.Value(attribute); present {
			name = name.With(attribute, value)
		}
	}
	if found, known := v.byName[name.String()]; known {
		return found, nil
	}
	found, err := v.searchNamed(u, template)
	if err == nil {
		v.byName[name.String()] = found
	}
	return found, err
}

func (v *inventory) searchNamed(u URI, template []*pkcs11.Attribute) (found named, err error) {
	handles, more, err := v.calls.searchFew(v.session, maxNamed, template...)
	if call, _ := returned(err); call == "C_FindObjectsInit" && isOfOneObject(err) {
		return named{}, nil // it may be that it wants a class
	}
	if err != nil || more {
		return named{}, err
	}
	for _, handle := range handles {
		o, err := v.object(handle, anyClass)
		switch {
		case err != nil && isOfOneObject(err), err == nil && o.class == anyClass:
			return named{}, nil
		case err != nil:
			return named{}, err
		case u.matches(o.attributes()):
			found.objects = append(found.objects, o)
		}
	}
	found.usable = true
	return found, nil
}

// of returns those of a class.
func (n named) of(class uint) []object {
	return slices.DeleteFunc(slices.Clone(n.objects), func(o object) bool { return o.class != class })
}

// find lists the objects of a class (CKO_…) that the URI selects by object
// and id. The token is asked to search first. Some tokens don't find by CKA_ID
// (Google's libkmsp11), so where nothing is found all objects are compared here;
// if those are too many, the token's word is good.
func (v *inventory) find(class uint, u URI) ([]object, error) {
	byName, err := v.named(u)
	if selected := byName.of(class); err != nil || len(selected) > 0 {
		return selected, err
	}
	template := templateOf(u)
	if len(template) > 0 {
		if selected, err := v.matching(class, u, template...); err != nil || len(selected) > 0 {
			return selected, err
		}
	}
	selected, err := v.matching(class, u)
	if len(template) > 0 && IsKind(err, KindManyObjects) {
		return nil, nil
	}
	return selected, err
}

// matching searches by a class and more, and compares what is found with the URI.
func (v *inventory) matching(class uint, u URI, template ...*pkcs11.Attribute) ([]object, error) {
	handles, err := v.calls.search(v.session, append([]*pkcs11.Attribute{ofClass(class)}, template...)...)
	if err != nil {
		return nil, err
	}
	var selected []object
	for _, handle := range handles {
		o, err := v.object(handle, class)
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
func (v *inventory) near(class uint, key object) ([]object, error) {
	var found []object
	for _, u := range key.siblings() {
		byName, err := v.named(u)
		objects := byName.of(class)
		if err == nil && !byName.usable {
			objects, err = v.matching(class, u, templateOf(u)...)
		}
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

// listCertificates lists the certificates of a token that has few.
func (v *inventory) listCertificates() error {
	if v.listed {
		return nil
	}
	handles, more, err := v.calls.searchFew(v.session, fewCertificates, ofClass(pkcs11.CKO_CERTIFICATE))
	if err != nil {
		return err
	}
	v.listed = true
	if !more {
		v.few = append([]pkcs11.ObjectHandle{}, handles...) // not nil
	}
	return nil
}

// readCertificates reads the certificates of a token that has few.
func (v *inventory) readCertificates() error {
	if err := v.listCertificates(); err != nil {
		return err
	}
	_, err := v.certificates(v.few)
	return err
}
