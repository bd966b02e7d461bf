// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/notation-pkcs11/notation-pkcs11/pkcs11"
)

// saysLittle reports whether an error leaves the user without a reason, as that of
// a module which finds no device, or doesn't start, and says why on its own
// standard error.
func saysLittle(e *pkcs11.Error) bool {
	switch e.Kind {
	case pkcs11.KindNoDevice, pkcs11.KindModule, pkcs11.KindCrash, pkcs11.KindTimeout:
		return true
	case pkcs11.KindCall:
		switch pkcs11.RVName(e.RV) {
		case "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "CKR_HOST_MEMORY", "CKR_ARGUMENTS_BAD":
			return true
		}
	}
	return false
}

// notStarted says that no process could be started for a module, and whether that
// is for want of resources.
func notStarted(err error) error {
	kind := pkcs11.KindCall
	for _, limit := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, limit) {
			kind = pkcs11.KindResources
		}
	}
	return &pkcs11.Error{Kind: kind, Message: fmt.Sprintf("the process for the PKCS#11 module can't be started: %v", err)}
}

// explain ends a process in which the module could not be loaded or shows no
// token, and adds to the error what the module printed. Other errors are as they
// are, and the process lives.
func (p *process) explain(err error) error {
	var e *pkcs11.Error
	if !errors.As(err, &e) || !saysLittle(e) {
		return err
	}
	_ = p.stop() // after which all that was printed is here
	words := p.output.words.String()
	if words == "" {
		return err
	}
	explained := *e
	explained.More += words
	return &explained
}
