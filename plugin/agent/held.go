// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// find returns the one key that a URI selects among those that are held, by what
// each showed. Nothing that a client says selects a token.
func (s *Server) find(uri pkcs11.URI) (*held, error) {
	var found []*held
	for _, h := range s.keysOf() {
		if uri.Selects(h.shown) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, contract.NewValidationErrorf("the agent does not hold the key %s; it holds %s. Start the agent with this key, too, or unset %s to log in without an agent.",
			uri, strings.Join(s.URIs(), ", "), Variable)
	}
	var uris []string
	for _, h := range found {
		uris = append(uris, h.uri())
	}
	return nil, contract.NewValidationErrorf("the agent holds several keys that match %s: %s. Add object=… or id=… to the key URI, so that it selects one.", uri, strings.Join(uris, ", "))
}

// uri names a key in logs and errors: by its token and its own names.
func (h *held) uri() string {
	return h.shown.Without(pkcs11.AttrManufacturer, pkcs11.AttrModel, pkcs11.AttrSlotID, pkcs11.AttrSlotDescription, pkcs11.AttrSlotManufacturer,
		pkcs11.AttrLibraryManufacturer, pkcs11.AttrLibraryDescription, pkcs11.AttrLibraryVersion, pkcs11.AttrType).String()
}

func (h *held) serial() string {
	serial, _ := h.shown.Value(pkcs11.AttrSerial)
	return serial
}

// thumbprint is that of the key's certificate on the token that signatures carry
// first of all; empty where none is there, and the client has it from cert_chain.
func (h *held) thumbprint() string {
	related := plugin.Related(h.public, append(h.known(ownCertificates), h.known(allCertificates)...))
	if len(related) == 0 {
		return ""
	}
	sum := sha256.Sum256(related[0].Raw)
	return hex.EncodeToString(sum[:])
}
