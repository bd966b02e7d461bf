// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

// fiveLines is a log with the hashes of its lines.
func fiveLines(t *testing.T) (lines, hashes []string) {
	t.Helper()
	l := newLog(t)
	for _, event := range []Event{Start, Signature, Refusal, Signature, End} {
		hashes = append(hashes, mustAppend(t, l, Entry{Event: event}))
	}
	return strings.SplitAfter(strings.TrimSuffix(read(t, l.Path()), "\n"), "\n"), hashes
}

func TestBrokenChainIsFoundWhereItBreaks(t *testing.T) {
	lines, _ := fiveLines(t)
	for name, row := range map[string]struct {
		change func(lines []string) []string
		line   int
		says   string
	}{
		"a line changed":          {func(l []string) []string { l[1] = strings.Replace(l[1], "signature", "refusal", 1); return l }, 3, "changed, removed or inserted"},
		"a line removed":          {func(l []string) []string { return append(l[:2:2], l[3:]...) }, 3, "changed, removed or inserted"},
		"another file":            {func(l []string) []string { return append([]string{"x\n"}, l...) }, 1, "not a line of an audit log"},
		"a line put in":           {func(l []string) []string { return append(l[:2:2], l[1:]...) }, 3, "changed, removed or inserted"},
		"two exchanged":           {func(l []string) []string { l[1], l[2] = l[2], l[1]; return l }, 2, "changed, removed or inserted"},
		"the beginning removed":   {func(l []string) []string { return l[2:] }, 1, "beginning is missing"},
		"no line put in":          {func(l []string) []string { return append(l[:2:2], append([]string{"x\n"}, l[2:]...)...) }, 4, "not a line of an audit log"},
		"a space":                 {func(l []string) []string { l[3] = " " + l[3]; return l }, 5, "changed, removed or inserted"},
		"another version":         {func(l []string) []string { l[1] = strings.Replace(l[1], `:1`, `:2`, 1); return l }, 3, "changed, removed or inserted"},
		"a line that is too long": {func(l []string) []string { l[1] = strings.Repeat(" ", maxLine) + l[1]; return l }, 2, "longer than 16384 bytes"},
	} {
		changed := strings.Join(row.change(append([]string(nil), lines...)), "")
		_, err := Verify(strings.NewReader(changed), "")
		var broken *BrokenError
		if !errors.As(err, &broken) || broken.Line != row.line || !strings.Contains(broken.Reason, row.says) {
			t.Errorf("%s: error %v, want one of line %d that says %q", name, err, row.line, row.says)
		}
	}
}

// A tail that was cut leaves a chain that is whole. The hash that was kept tells.
func TestTailThatWasCutIsFoundByItsHashAlone(t *testing.T) {
	lines, hashes := fiveLines(t)
	cut := strings.Join(lines[:3], "")
	s, err := Verify(strings.NewReader(cut), "")
	if err != nil || s.Hash != hashes[2] || s.Lines != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Verify(strings.NewReader(cut), hashes[4]); !errors.Is(err, ErrNotInLog) {
		t.Errorf("error %v", err)
	}
	if s, err := Verify(strings.NewReader(cut), hashes[1]); err != nil || s.Expected != 2 {
		t.Errorf("the hash of a line before the cut: %+v, %v", s, err)
	}
}

func TestEmptyLogIsWhole(t *testing.T) {
	for _, expect := range []string{"", noHash} {
		if s, err := Verify(strings.NewReader(""), expect); err != nil || s.Lines != 0 || s.Hash != noHash || s.First != nil {
			t.Errorf("%+v, %v", s, err)
		}
	}
	if _, err := Verify(strings.NewReader(""), hashOf(nil)); !errors.Is(err, ErrNotInLog) {
		t.Errorf("error %v", err)
	}
}

func TestFailureOfTheReaderIsReported(t *testing.T) {
	failed := errors.New("failed")
	if _, err := Verify(iotest.ErrReader(failed), ""); !errors.Is(err, failed) {
		t.Errorf("error %v", err)
	}
}

// A log that is whole has the hash that it is said to have, and ends there.
func FuzzVerify(f *testing.F) {
	first, err := Entry{Event: Start}.encode(noHash, "")
	if err != nil {
		f.Fatal(err)
	}
	second, err := Entry{Event: End}.encode(hashOf(first), "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(first) + string(second))
	f.Add(string(first) + `{"version":1`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Verify(strings.NewReader(text), "")
		if err != nil {
			return
		}
		again, err := Verify(strings.NewReader(text), s.Hash)
		if err != nil || again.Lines != s.Lines {
			t.Errorf("%v: %+v, before it was %+v", err, again, s)
		}
		total := 0
		for _, n := range s.Events {
			total += n
		}
		if total != s.Lines || s.Lines+len(s.Torn) > strings.Count(text, "\n")+1 {
			t.Errorf("%+v of %q", s, text)
		}
	})
}
