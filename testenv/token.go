// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The PINs of new tokens, and the password of registries that want one. They are
// long and odd, so that a test can look for them in logs and outputs without a
// chance hit; "make test" looks for them in everything (secretwatch).
const (
	UserPIN          = "user-pin-2c9e41"
	SOPIN            = "so-pin-f83b07"
	RegistryPassword = "registry-password-5e0b71"
)

// Token is one token of a [Store].
type Token struct {
	Store  *Store
	Label  string
	Serial string // serial number
	Slot   uint   // id of the slot that the token is in
	PIN    string // user PIN; ChangePIN keeps it up to date
	SOPIN  string
	Keys   []*Key // in the order in which they were generated
}

// Env returns the variables with which a process reaches the token's store; see
// [Store.Env].
func (t *Token) Env() []string { return t.Store.Env() }

// Key returns the token's first key with a label, nil if there is none.
func (t *Token) Key(label string) *Key {
	for _, key := range t.Keys {
		if key.Label == label {
			return key
		}
	}
	return nil
}

// ChangePIN changes the user PIN, as the token's owner would.
func (t *Token) ChangePIN(pin string) error {
	if _, err := t.tool("--login", "--pin", t.PIN, "--change-pin", "--new-pin", pin); err != nil {
		return fmt.Errorf("change PIN of token %q: %w", t.Label, err)
	}
	t.PIN = pin
	return nil
}

// ImportCertificate stores a certificate on the token. An empty id leaves the
// choice of the CKA_ID to the token.
func (t *Token) ImportCertificate(cert *x509.Certificate, label string, id []byte) error {
	file := filepath.Join(t.Store.dir, "import.der")
	if err := os.WriteFile(file, cert.Raw, 0o600); err != nil {
		return fmt.Errorf("import certificate: %w", err)
	}
	defer os.Remove(file)
	args := []string{"--login", "--pin", t.PIN, "--write-object", file, "--type", "cert", "--label", label}
	if len(id) > 0 {
		args = append(args, "--id", hex.EncodeToString(id))
	}
	if _, err := t.tool(args...); err != nil {
		return fmt.Errorf("import certificate %q into token %q: %w", label, t.Label, err)
	}
	return nil
}

// Inventory returns what pkcs11-tool says of the token: the state of its PINs,
// and every object with its attributes. Two that are equal mean that nothing on
// the token was changed.
func (t *Token) Inventory() (string, error) {
	slots, err := t.tool("--list-token-slots")
	if err != nil {
		return "", fmt.Errorf("list token %q: %w", t.Label, err)
	}
	objects, err := t.tool("--login", "--pin", t.PIN, "--list-objects")
	if err != nil {
		return "", fmt.Errorf("list objects of token %q: %w", t.Label, err)
	}
	blocks := objectBlock.FindAllString(string(objects), -1)
	slices.Sort(blocks)
	return string(slots) + strings.Join(blocks, ""), nil
}

// objectBlock is one object as pkcs11-tool lists it.
var objectBlock = regexp.MustCompile(`(?m)^\S.*\n(?:  .*\n)*`)

// tool runs pkcs11-tool on the token.
func (t *Token) tool(args ...string) ([]byte, error) {
	args = append([]string{"--module", t.Store.Module, "--slot", strconv.FormatUint(uint64(t.Slot), 10)}, args...)
	return runFor(tokenTimeout, append(baseEnv(), t.Env()...), "pkcs11-tool", args...)
}

// KeyType is a kind of key pair.
type KeyType struct {
	// Name is the contract's name of the key spec, such as "RSA-2048" or
	// "EC-256", where notation has one.
	Name string

	spec string // what pkcs11-tool calls it
}

// Types of keys that notation can sign with.
var (
	RSA2048 = KeyType{"RSA-2048", "rsa:2048"}
	RSA3072 = KeyType{"RSA-3072", "rsa:3072"}
	RSA4096 = KeyType{"RSA-4096", "rsa:4096"}
	EC256   = KeyType{"EC-256", "EC:secp256r1"}
	EC384   = KeyType{"EC-384", "EC:secp384r1"}
	EC521   = KeyType{"EC-521", "EC:secp521r1"}
)

// KeyTypes are all the types that notation can sign with.
var KeyTypes = []KeyType{RSA2048, RSA3072, RSA4096, EC256, EC384, EC521}

// Types of keys that tokens make and notation can't sign with.
var (
	RSA1024 = KeyType{"RSA-1024", "rsa:1024"}
	EC224   = KeyType{"EC-224", "EC:secp224r1"}
	Ed25519 = KeyType{"Ed25519", "EC:edwards25519"}
)

// Key is a key pair on a token. Its private half is sensitive, may sign and was
// never extractable.
type Key struct {
	Token  *Token
	Type   KeyType
	Label  string // CKA_LABEL of both halves
	ID     []byte // CKA_ID of both halves
	Public crypto.PublicKey
}

// Generate makes a key pair on the token. Several keys of a token may have the
// same label; each gets another CKA_ID.
func (t *Token) Generate(kind KeyType, label string) (*Key, error) {
	key := &Key{Token: t, Type: kind, Label: label, ID: []byte{byte(len(t.Keys) + 1)}}
	_, err := t.tool("--login", "--pin", t.PIN, "--keypairgen", "--key-type", kind.spec,
		"--usage-sign", "--label", label, "--id", hex.EncodeToString(key.ID))
	if err != nil {
		return nil, fmt.Errorf("generate %s key %q on token %q: %w", kind.Name, label, t.Label, err)
	}
	if key.Public, err = t.export(key.ID); err != nil {
		return nil, fmt.Errorf("export public key %q of token %q: %w", label, t.Label, err)
	}
	t.Keys = append(t.Keys, key)
	return key, nil
}

// export reads a public key off the token. It is p11tool's part because
// pkcs11-tool 0.23 can't read a P-384 key back.
func (t *Token) export(id []byte) (crypto.PublicKey, error) {
	uri := fmt.Sprintf("pkcs11:serial=%s;id=%s;type=public", t.Serial, escapeID(id))
	out, err := runFor(tokenTimeout, append(baseEnv(), t.Env()...), "p11tool", "--provider", t.Store.Module, "--batch", "--export", uri)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(out)
	if block == nil {
		return nil, fmt.Errorf("p11tool printed no PEM: %q", out)
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// URI returns the RFC 7512 URI by token and object label, such as
// "pkcs11:token=testenv;object=EC-256".
func (k *Key) URI() string {
	return "pkcs11:token=" + url.PathEscape(k.Token.Label) + ";object=" + url.PathEscape(k.Label)
}

// SetID changes the CKA_ID of both halves, to that of another key too.
func (k *Key) SetID(id []byte) error {
	for _, half := range []string{"privkey", "pubkey"} {
		_, err := k.Token.tool("--login", "--pin", k.Token.PIN, "--type", half,
			"--id", hex.EncodeToString(k.ID), "--set-id", hex.EncodeToString(id))
		if err != nil {
			return fmt.Errorf("set CKA_ID of %s %q: %w", half, k.Label, err)
		}
	}
	k.ID = id
	return nil
}

// ImportChain stores a chain, leaf first, on the key's token: the leaf under the
// label and CKA_ID of the key, each other certificate under its common name.
func (k *Key) ImportChain(chain []*x509.Certificate) error {
	for i, cert := range chain {
		label, id := cert.Subject.CommonName, []byte(nil)
		if i == 0 {
			label, id = k.Label, k.ID
		}
		if err := k.Token.ImportCertificate(cert, label, id); err != nil {
			return err
		}
	}
	return nil
}

// escapeID writes a CKA_ID as RFC 7512 wants it: each byte percent-encoded.
func escapeID(id []byte) string {
	var b strings.Builder
	for _, c := range id {
		fmt.Fprintf(&b, "%%%02x", c)
	}
	return b.String()
}
