// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sandbox

import (
	"errors"
	"os"
)

var errNoLandlock = errors.New("the sandbox needs landlock, which Linux alone has")

// Missing returns an error: there is no landlock.
func Missing() (string, error) { return "", errNoLandlock }

// Ruleset returns an error: there is no landlock.
func (s Sandbox) Ruleset(string) (*os.File, error) { return nil, errNoLandlock }
