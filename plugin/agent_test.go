// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"errors"
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// Where an agent is named, the key is opened by it and by nobody else, without a
// deadline: the time counts from the signature's turn.
func TestAgentOpensTheKey(t *testing.T) {
	token, others := newToken(t, contract.KeySpecEC256), newToken(t, contract.KeySpecEC256)
	p := others.plugin()
	p.Getenv = func(name string) string { return map[string]string{"NOTATION_PKCS11_AGENT": "/run/agent"}[name] }
	token.open = func(ctx context.Context, s Settings) error {
		if _, limited := ctx.Deadline(); limited || s.Agent != "/run/agent" {
			t.Errorf("the agent at %q is asked with a deadline: %v", s.Agent, limited)
		}
		return nil
	}
	p.Agent = token
	if _, err := p.GenerateSignature(t.Context(), request(contract.KeySpecEC256)); err != nil {
		t.Error(err)
	}
	if len(token.opened) != 1 || len(others.opened) != 0 {
		t.Errorf("the agent's key was opened %d times, another one %d times", len(token.opened), len(others.opened))
	}

	token.open = func(context.Context, Settings) error {
		return contract.NewError(contract.ErrorCodeThrottled, "the agent is busy. Try again later.")
	}
	_, err := p.GenerateSignature(t.Context(), request(contract.KeySpecEC256))
	var told *contract.Error
	if !errors.As(err, &told) || told.ErrCode != contract.ErrorCodeThrottled || told.Message != "the agent is busy. Try again later." {
		t.Errorf("error %v", err)
	}

	p.Agent = nil
	_, err = p.DescribeKey(t.Context(), &contract.DescribeKeyRequest{ContractVersion: "1.0", KeyID: testKeyID})
	if err == nil || !strings.Contains(err.Error(), "this program doesn't use the agent") || len(others.opened) != 0 {
		t.Errorf("error %v", err)
	}
}
