// SPDX-License-Identifier: Apache-2.0

// Package lazyregexp has regular expressions that are compiled when they are first used.
// A signature starts two processes of the plugin, and most of them use none.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that returns the compiled expression. It panics at its first call
// if that can't be parsed. It may be called from several goroutines.
func New(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
