// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"errors"
	"strings"
	"testing"

	contract "github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// checkError checks that an error is the contract's, has the code, and that its
// message has all the phrases.
func checkError(tb testing.TB, err error, code contract.ErrorCode, phrases ...string) {
	tb.Helper()
	var failed *contract.Error
	if !errors.As(err, &failed) {
		tb.Fatalf("got the error %v, want one of the contract", err)
	}
	if failed.ErrCode != code {
		tb.Errorf("got the code %s, want %s; message: %s", failed.ErrCode, code, failed.Message)
	}
	for _, phrase := range phrases {
		if !strings.Contains(failed.Message, phrase) {
			tb.Errorf("the message lacks %q: %s", phrase, failed.Message)
		}
	}
}
