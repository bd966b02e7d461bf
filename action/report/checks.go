// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
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

// decisive is the index of the signature that the verdict hangs on: the first valid
// one, else the one that came furthest. It is -1 if there is none.
func (v *Verification) decisive() int {
	best := -1
	for i := range v.Signatures {
		s := &v.Signatures[i]
		if s.Valid {
			return i
		}
		if best < 0 || s.passed() > v.Signatures[best].passed() {
			best = i
		}
	}
	return best
}

// leading is the index of the signature that a reader looks for: the one because of
// which this run made none or that it made, else the decisive one. It is -1 if there
// is none.
func (a *Artifact) leading() int {
	v := a.Verification
	if v == nil {
		return -1
	}
	own := a.AlreadySigned
	if a.Signed != nil {
		own = a.Signed.Digest
	}
	if i := slices.IndexFunc(v.Signatures, func(s Signature) bool { return s.Digest == own }); i >= 0 {
		return i
	}
	return v.decisive()
}

// others are the signatures besides the leading one, and a few words on them.
func (a *Artifact) others() (list []Signature, words string) {
	lead := a.leading()
	if lead < 0 || len(a.Verification.Signatures) == 1 {
		return nil, ""
	}
	list = slices.Delete(slices.Clone(a.Verification.Signatures), lead, lead+1)
	valid := 0
	for i := range list {
		valid += one(list[i].Valid)
	}
	kind := "more"
	if a.Signed != nil {
		kind = "older"
	}
	switch {
	case valid == len(list):
		words = fmt.Sprintf("%d %s: %d valid", len(list), kind, valid)
	case valid == 0:
		words = fmt.Sprintf("%d %s: %d not valid", len(list), kind, len(list))
	default:
		words = fmt.Sprintf("%d %s: %d valid, %d not", len(list), kind, valid, len(list)-valid)
	}
	return list, words
}

// Lasting is the valid signature that verifies longest, the first of several. Nil
// if none is valid.
func (v *Verification) Lasting() *Signature {
	var last *Signature
	for i := range v.Signatures {
		if s := &v.Signatures[i]; s.Valid && (last == nil || s.Outlasts(last.Validity)) {
			last = s
		}
	}
	return last
}

// validity is until when the artifact verifies, by the valid signature that does so
// longest. It is empty where that is not known.
func (a *Artifact) validity() Validity {
	if a.verdict() == Verified {
		if s := a.Verification.Lasting(); s != nil {
			return s.Validity
		}
	}
	if a.Signed != nil {
		return a.Signed.Validity
	}
	return Validity{}
}

// Outlasts says whether it ends later than another.
func (v Validity) Outlasts(other Validity) bool {
	return other.ValidUntil != nil && (v.ValidUntil == nil || v.ValidUntil.After(*other.ValidUntil))
}

func (s *Signature) passed() int {
	n := 0
	for _, check := range s.Checks {
		n += one(check.Result == CheckPassed)
	}
	return n
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
