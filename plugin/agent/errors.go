// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
	"github.com/notation-pkcs11/notation-pkcs11/plugin"
)

// Variable is the environment variable that names the socket.
const Variable = "NOTATION_PKCS11_AGENT"

// startAgain is what to do about an agent that is gone.
const startAgain = "Start the agent again (notation-pkcs11 agent), or unset " + Variable

// refusalOf makes the contract's error of a request that can't be read.
func refusalOf(err error) error {
	var v violation
	if errors.As(err, &v) {
		return plugin.Refuse(contract.ErrorCodeValidation, "Use the same release of notation-pkcs11 for the plugin and the agent", "the agent refuses the request: %v", err)
	}
	return contract.NewValidationErrorf("the agent refuses the request: %v", err)
}

// translate turns an error of a token into the contract's, with what to do: for
// those who started the agent, mostly.
func (s *Server) translate(h *held, err error) error {
	var own *contract.Error
	switch {
	case errors.As(err, &own):
		return own
	case pkcs11.IsKind(err, pkcs11.KindTimeout), errors.Is(err, context.DeadlineExceeded):
		return plugin.Refuse(contract.ErrorCodeTimeout, "Check that the HSM can be reached, or start the agent with a longer --timeout",
			"the agent got no answer from the token within %v: %v", s.Timeout, err)
	case errors.Is(err, context.Canceled):
		err = errEnding
	}
	return plugin.Translate(err, h.token.settings)
}

func messageOf(err error) string {
	var told *contract.Error
	if errors.As(err, &told) {
		return told.Message
	}
	return err.Error()
}
