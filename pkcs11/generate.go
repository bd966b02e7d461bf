// SPDX-License-Identifier: Apache-2.0

package pkcs11

import (
	"crypto"
	"crypto/rand"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// generatedRSA are the types of RSA keys that can be generated, by the names
// that users give. Those of EC keys are in the table of curves.
var generatedRSA = []struct {
	name string
	bits int // of the modulus
}{
	{"rsa:2048", 2048},
	{"rsa:3072", 3072},
	{"rsa:4096", 4096},
}

// usage is something that a key could be used for.
type usage struct {
	attribute uint
	permitted bool
	what      string
}

// What each half could be used for. Tokens permit what is left out, even where
// it makes no sense: SoftHSM lets EC keys decrypt.
var (
	privateUsages = []usage{
		{pkcs11.CKA_SIGN, true, "sign (CKA_SIGN)"},
		{pkcs11.CKA_DECRYPT, false, "decrypt (CKA_DECRYPT)"},
		{pkcs11.CKA_UNWRAP, false, "unwrap keys (CKA_UNWRAP)"},
		{pkcs11.CKA_SIGN_RECOVER, false, "sign with message recovery (CKA_SIGN_RECOVER)"},
		{pkcs11.CKA_DERIVE, false, "derive keys (CKA_DERIVE)"},
	}
	publicUsages = []usage{
		{pkcs11.CKA_VERIFY, true, "verify (CKA_VERIFY)"},
		{pkcs11.CKA_ENCRYPT, false, "encrypt (CKA_ENCRYPT)"},
		{pkcs11.CKA_WRAP, false, "wrap keys (CKA_WRAP)"},
		{pkcs11.CKA_VERIFY_RECOVER, false, "verify with message recovery (CKA_VERIFY_RECOVER)"},
		{pkcs11.CKA_DERIVE, false, "derive keys (CKA_DERIVE)"},
	}
)

// GeneratedTypes names the types of keys that Session.Generate knows, such as
// "rsa:3072" and "ec:p256".
func GeneratedTypes() []string {
	var names []string
	for _, g := range generatedRSA {
		names = append(names, g.name)
	}
	for _, c := range signingCurves() {
		names = append(names, c.generated)
	}
	return names
}

// Generated is a key pair that was made on a token.
type Generated struct {
	URI    URI // selects it
	Public crypto.PublicKey
	// Warnings are what the key may do beside signing, or what the token doesn't
	// say of it: clauses that begin with "it".
	Warnings []string
}

// Generate makes a key pair on the token, under the label that the URI's object
// names and the CKA_ID of its id. Without id the CKA_ID is a random one: it can't
// be derived from a key that isn't there yet, and many tokens let nobody change
// it later.
//
// The private key is asked to be sensitive, not extractable, and for signing
// alone. One that comes out otherwise is looked at again after the module was
// restarted, with a second login, so keys of the module must be closed before:
// OpenSC shows new keys as not sensitive until then. A key that could be
// extracted or read even so is deleted, and the error is of KindExposed; for one
// that may not sign, which stays, it is of KindNotPermitted. Nothing is
// overwritten: where a key has the label or the CKA_ID, the error is of KindExists.
// The session must have been opened with SessionOptions.Write.
func (s *Session) Generate(u URI, keyType string) (Generated, error) {
	for _, g := range generatedRSA {
		if g.name == keyType {
			return s.generate(u, pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
				pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, g.bits), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}))
		}
	}
	for _, c := range signingCurves() {
		if c.generated == keyType {
			return s.generate(u, pkcs11.CKM_EC_KEY_PAIR_GEN, pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, c.parameters()))
		}
	}
	return Generated{}, newError(KindConfig, "unknown key type %q; use one of %s", shorten(keyType), strings.Join(GeneratedTypes(), ", "))
}

func (s *Session) generate(u URI, mechanism uint, parameters ...*pkcs11.Attribute) (Generated, error) {
	o, err := newObject(u)
	if err != nil {
		return Generated{}, err
	}
	if err := s.checkFree(u); err != nil {
		return Generated{}, err
	}
	uri := s.token.ShortURI().With(AttrObject, o.label) // no other key has the label
	pair, err := s.generatePair(o, mechanism, parameters)
	if err != nil {
		return Generated{}, asError(err, "the key %s can't be generated", uri)
	}
	pair, warnings, err := s.accept(uri, o, pair)
	if err != nil {
		return Generated{}, err
	}
	values, err := s.token.calls.read(s.handle, pair.public, publicAttributes...)
	if err != nil {
		return Generated{}, failed(err, "the key %s was generated, but its public half can't be read", uri)
	}
	public, err := parsePublicKey(values)
	if err != nil {
		return Generated{}, newError(KindPublicKey, "the key %s was generated, but its public half can't be used: %v", uri, err).withTodo("Look at the key with the vendor's tool")
	}
	return Generated{uri, public, warnings}, nil
}

// newObject is the name that a URI gives to a new key.
func newObject(u URI) (object, error) {
	label, _ := u.Value(AttrObject)
	if label == "" {
		return object{}, newError(KindURI, "the key URI has no label for the new key; add object=LABEL")
	}
	if kind, present := u.Value(AttrType); present && kind != "private" {
		return object{}, newError(KindURI, "the key URI selects objects of type=%s; use type=private for a new key, or no type", kind)
	}
	id, given := u.Value(AttrID)
	if !given {
		random := make([]byte, 8)
		rand.Read(random) // never fails
		id = string(random)
	}
	return object{label: label, id: []byte(id)}, nil
}

// checkFree refuses the label and CKA_ID of a key that is there. A public key
// without a private one counts, too: it is somebody's.
func (s *Session) checkFree(u URI) error {
	for _, name := range []string{AttrObject, AttrID} {
		value, present := u.Value(name)
		if !present {
			continue
		}
		for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
			v := s.token.calls.inventory(s.handle)
			found, err := v.find(class, URI{}.With(name, value))
			if err != nil {
				return asError(err, "the keys on the token %s can't be listed", s.token.ShortURI())
			}
			if len(found) == 0 {
				continue
			}
			uri := v.objectURIs(s.token, class, found[:1])[0]
			if class == pkcs11.CKO_PUBLIC_KEY { // the private one is looked for first
				return newError(KindExists, "no key was generated: the token has a public key with this %s=…, without a private one, as an interrupted generation may leave it: %s",
					name, uri.With(AttrType, "public")).withTodo("Delete the public key with the vendor's tool, or choose another object=LABEL and id")
			}
			return newError(KindExists, "no key was generated: the token has a key with this %s=…: %s", name, uri)
		}
	}
	return nil
}

// generatePair makes the two halves. A token that doesn't take the usages that
// are refused is asked once more without them; look sees what came of it.
func (s *Session) generatePair(o object, mechanism uint, parameters []*pkcs11.Attribute) (pair keyPair, err error) {
	if mechanism == pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN && s.isTPM() {
		return keyPair{}, newError(KindKey, "the TPM's module signs only with RSA keys that may also decrypt, and generate-key makes sign-only keys").
			withTodo("Generate an EC key, or make the RSA key with pkcs11-tool")
	}
	for _, u := range s.usages() {
		public := append(o.template(),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false)) // so that it can be read without a login
		public = append(append(public, parameters...), attributesOf(u.public)...)
		private := append(o.template(),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
		private = append(private, attributesOf(u.private)...)
		pair, err = s.token.calls.generateKeyPair(s.handle, pkcs11.NewMechanism(mechanism, nil), public, private)
		if _, rv := returned(err); !isTemplateError(rv) {
			break
		}
	}
	return pair, err
}

// usages are the tries of generatePair.
func (s *Session) usages() []struct{ private, public []usage } {
	if s.isTPM() {
		// The public half's usages are the private half's there: CKA_VERIFY would
		// permit to decrypt, and contradict CKA_DECRYPT. A try that fails leaves an
		// object in the TPM's memory.
		return []struct{ private, public []usage }{{privateUsages, nil}}
	}
	return []struct{ private, public []usage }{
		{privateUsages, publicUsages},
		{permitted(privateUsages), permitted(publicUsages)},
	}
}

// isTPM reports whether the module is tpm2-pkcs11, to which RSA signatures are
// decryptions. It is the one question here of who made a module. What a module
// does with such templates shows only when it fails to make a key, and each key
// that a TPM fails to make stays in its memory, which has room for three: after a
// probe the key itself could not be made.
func (s *Session) isTPM() bool {
	info, err := s.token.calls.info()
	return err == nil && trimPadding(info.ManufacturerID) == "tpm2-software.github.io"
}

// permitted leaves out what is refused.
func permitted(usages []usage) []usage {
	return slices.DeleteFunc(slices.Clone(usages), func(u usage) bool { return !u.permitted })
}

// template has the attributes that all objects have which are made on a token.
func (o object) template() []*pkcs11.Attribute {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, o.label),
	}
	if len(o.id) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, o.id))
	}
	return template
}

func attributesOf(usages []usage) []*pkcs11.Attribute {
	var template []*pkcs11.Attribute
	for _, u := range usages {
		template = append(template, pkcs11.NewAttribute(u.attribute, u.permitted))
	}
	return template
}

func isTemplateError(rv uint) bool {
	switch rv {
	case pkcs11.CKR_ATTRIBUTE_TYPE_INVALID, pkcs11.CKR_ATTRIBUTE_VALUE_INVALID, pkcs11.CKR_ATTRIBUTE_READ_ONLY, pkcs11.CKR_TEMPLATE_INCONSISTENT:
		return true
	}
	return false
}

// accept decides whether a new key stays. The pair that it returns has the
// handles that are good then.
func (s *Session) accept(uri URI, o object, pair keyPair) (keyPair, []string, error) {
	is, err := s.look(pair.private)
	if err == nil && (is.exposed != "" || is.useless) {
		if pair, err = s.findPairAgain(o); err == nil {
			is, err = s.look(pair.private)
		}
	}
	switch {
	case err != nil:
		return pair, nil, asError(err, "the key %s was generated, but its attributes can't be read", uri)
	case is.exposed != "":
		return pair, nil, s.discard(pair, newError(KindExposed, "the token generated the key %s with other attributes than requested: it %s", uri, is.exposed))
	case is.useless:
		return pair, nil, newError(KindNotPermitted, "the token generated the key %s with other attributes than requested: it may not sign (CKA_SIGN)", uri).
			withTodo("Delete the key with the vendor's tool, and check the token's policy")
	}
	return pair, is.warnings, nil
}

// made is what became of a new private key.
type made struct {
	exposed  string // how it could leave the token
	useless  bool   // it may not sign
	warnings []string
}

// look reads what a private key is. An attribute that the token doesn't show is
// no reason to throw a key away.
func (s *Session) look(private pkcs11.ObjectHandle) (made, error) {
	types := []uint{pkcs11.CKA_SENSITIVE, pkcs11.CKA_EXTRACTABLE}
	for _, u := range privateUsages {
		types = append(types, u.attribute)
	}
	is, err := s.token.calls.read(s.handle, private, types...)
	if err != nil {
		return made{}, err
	}
	var m made
	sensitive, says := is[pkcs11.CKA_SENSITIVE]
	switch {
	case isTrue(is[pkcs11.CKA_EXTRACTABLE]):
		m.exposed = "is extractable (CKA_EXTRACTABLE)"
	case says && !isTrue(sensitive):
		m.exposed = "is not sensitive (CKA_SENSITIVE)"
	case !says:
		m.warnings = append(m.warnings, "it doesn't show whether it is sensitive (CKA_SENSITIVE)")
	}
	if _, says := is[pkcs11.CKA_EXTRACTABLE]; !says {
		m.warnings = append(m.warnings, "it doesn't show whether it is extractable (CKA_EXTRACTABLE)")
	}
	for _, u := range privateUsages {
		value, says := is[u.attribute]
		switch {
		case says && u.permitted && !isTrue(value):
			m.useless = true
		case !u.permitted && isTrue(value):
			m.warnings = append(m.warnings, "it may also "+u.what)
		}
	}
	return m, nil
}

// findPairAgain finds a new pair after the session and the module were started
// anew.
func (s *Session) findPairAgain(o object) (keyPair, error) {
	if err := s.restart(); err != nil {
		return keyPair{}, err
	}
	var pair keyPair
	for class, handle := range map[uint]*pkcs11.ObjectHandle{pkcs11.CKO_PRIVATE_KEY: &pair.private, pkcs11.CKO_PUBLIC_KEY: &pair.public} {
		found, err := s.token.calls.inventory(s.handle).find(class, URI{}.With(AttrObject, o.label).With(AttrID, string(o.id)))
		if err != nil {
			return keyPair{}, err
		}
		if len(found) != 1 {
			return keyPair{}, newError(KindAnswer, "the token %s shows %d halves of the new key where there was one", s.token.ShortURI(), len(found)).
				withCall("C_FindObjects", pkcs11.CKR_OK).withTodo("Look at the new key with the vendor's tool")
		}
		*handle = found[0].handle
	}
	return pair, nil
}

// discard deletes a key pair that must not stay, and says so.
func (s *Session) discard(pair keyPair, why error) error {
	e := *asError(why, "the new key can't be used").(*Error)
	for _, half := range []pkcs11.ObjectHandle{pair.private, pair.public} {
		err := s.token.calls.destroyObject(s.handle, half)
		if _, stays := s.token.calls.read(s.handle, half, pkcs11.CKA_CLASS); err != nil || stays == nil {
			e.Message += "; it could not be deleted"
			e.Todo = "Delete the key with the vendor's tool, and check the token's policy"
			return &e
		}
	}
	e.Message += "; it was deleted again"
	return &e
}
