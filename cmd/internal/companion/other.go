// SPDX-License-Identifier: Apache-2.0

//go:build !linux && !darwin

package companion

import (
	"context"
	"errors"
)

// Companion is none on this system.
type Companion struct{}

// Start fails.
func Start(context.Context, Config) ([]byte, error) { return nil, errors.ErrUnsupported }

// Become fails.
func Become(string, []string, []string) error { return errors.ErrUnsupported }

// Inherited fails.
func Inherited() (*Companion, error) { return nil, errors.ErrUnsupported }

// CloseOthers does nothing.
func CloseOthers() {}

// Ask fails.
func (*Companion) Ask([]byte) (answer, refusal []byte, err error) {
	return nil, nil, errors.ErrUnsupported
}

// Ready fails.
func (*Companion) Ready([]byte) error { return errors.ErrUnsupported }

// Fail fails.
func (*Companion) Fail([]byte) error { return errors.ErrUnsupported }

// AwaitParent returns at once.
func (*Companion) AwaitParent() {}
