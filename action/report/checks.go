// SPDX-License-Identifier: Apache-2.0

package report

import (
	"maps"
	"slices"
)

// symbol is how a check's end looks: in a log, in the summary, and in words.
type symbol struct{ text, emoji, meaning string }

var (
	symbolPassed  = symbol{"✓", "✅", "passed"}
	symbolFailed  = symbol{"✗", "❌", "failed"}
	symbolLogged  = symbol{"!", "⚠️", "failed, which the policy only logs"}
	symbolNotMade = symbol{"–", "➖", "skipped or not evaluated"}
	symbols       = []symbol{symbolPassed, symbolFailed, symbolLogged, symbolNotMade}
)

func (c *Check) symbol() symbol {
	switch {
	case c.Result == CheckPassed:
		return symbolPassed
	case c.Result == CheckFailed && c.Action == "enforce":
		return symbolFailed
	case c.Result == CheckFailed:
		return symbolLogged
	default:
		return symbolNotMade
	}
}

// check returns the signature's check of a name, nil if there is none.
func (s *Signature) check(name string) *Check {
	for i := range s.Checks {
		if s.Checks[i].Name == name {
			return &s.Checks[i]
		}
	}
	return nil
}

// decisive is the signature that the verdict hangs on: the first valid one,
// else the one that came furthest. Nil if there is none.
func (v *Verification) decisive() *Signature {
	var best *Signature
	for i := range v.Signatures {
		s := &v.Signatures[i]
		if s.Valid {
			return s
		}
		if best == nil || s.passed() > best.passed() {
			best = s
		}
	}
	return best
}

func (s *Signature) passed() int {
	n := 0
	for _, check := range s.Checks {
		n += one(check.Result == CheckPassed)
	}
	return n
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
