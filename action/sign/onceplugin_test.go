// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/notation-pkcs11/notation-pkcs11/testenv/softplugin"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// A wrong PIN can lock a token, so a key that says no is not asked again,
// however many wait for it.
func TestDeniedKeyIsNotAskedAgain(t *testing.T) {
	soft := &softplugin.Plugin{Err: contract.NewError(contract.ErrorCodeAccessDenied, "wrong PIN")}
	plugin := newOncePlugin(soft)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := plugin.GenerateSignature(t.Context(), &contract.GenerateSignatureRequest{})
			if err == nil || err.Error() != "wrong PIN (ACCESS_DENIED)" {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := soft.Signed.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

func TestOtherErrorsAreForOneArtifact(t *testing.T) {
	soft := &softplugin.Plugin{Err: errors.New("no")}
	plugin := newOncePlugin(soft)
	for range 3 {
		if _, err := plugin.GenerateSignature(t.Context(), &contract.GenerateSignatureRequest{}); err == nil {
			t.Error("no error")
		}
	}
	if n := soft.Signed.Load(); n != 3 {
		t.Errorf("it was asked %d times", n)
	}
}

// failing fails to describe its key.
type failing struct {
	softplugin.Plugin
	err error
}

func (f *failing) DescribeKey(context.Context, *contract.DescribeKeyRequest) (*contract.DescribeKeyResponse, error) {
	f.Described.Add(1)
	return nil, f.err
}

func TestKeyThatCannotBeDescribedIsNotAskedAgain(t *testing.T) {
	soft := &failing{err: contract.NewError(contract.ErrorCodeAccessDenied, "locked")}
	plugin := newOncePlugin(soft)
	for range 3 {
		if _, err := plugin.DescribeKey(t.Context(), &contract.DescribeKeyRequest{}); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Error(err)
		}
	}
	if n := soft.Described.Load(); n != 1 {
		t.Errorf("it was asked %d times", n)
	}
}

// That one artifact's time was up says nothing about the key.
func TestEndedContextIsNotRemembered(t *testing.T) {
	soft := &failing{err: context.Canceled}
	plugin := newOncePlugin(soft)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := plugin.DescribeKey(ended, &contract.DescribeKeyRequest{}); err == nil {
		t.Error("no error")
	}
	soft.err = nil
	if _, err := plugin.DescribeKey(t.Context(), &contract.DescribeKeyRequest{}); err != nil {
		t.Error(err)
	}
}
