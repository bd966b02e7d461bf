// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// newLog opens a log in a directory of its own.
func newLog(tb testing.TB) *Log {
	tb.Helper()
	return reopen(tb, filepath.Join(tb.TempDir(), "audit.log"))
}

func reopen(tb testing.TB, path string) *Log {
	tb.Helper()
	l, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func mustAppend(tb testing.TB, l *Log, e Entry) (hash string) {
	tb.Helper()
	hash, err := l.Append(e)
	if err != nil {
		tb.Fatal(err)
	}
	return hash
}

func read(tb testing.TB, path string) string {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(content)
}

// add writes behind what is there, as somebody who is no writer does.
func add(tb testing.TB, path, text string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		tb.Fatal(err)
	}
}

// checkChain verifies a log.
func checkChain(tb testing.TB, path, expect string, lines int) Summary {
	tb.Helper()
	s, err := Verify(strings.NewReader(read(tb, path)), expect)
	if err != nil || s.Lines != lines {
		tb.Errorf("%d lines, want %d; %v", s.Lines, lines, err)
	}
	return s
}

func TestLineSaysWhatWasSigned(t *testing.T) {
	l := newLog(t)
	at := time.Date(2026, 11, 30, 8, 0, 1, 2000, time.FixedZone("", 3600))
	hash := mustAppend(t, l, Entry{
		Time: at, Event: Signature, SigningTime: at.Truncate(time.Second),
		Artifact: &Artifact{Digest: "sha256:00", MediaType: "text/plain", Size: 0},
		Key:      "pkcs11:token=Release;object=signing", TokenSerial: "0123", Certificate: "ab",
		Mechanism: "CKM_ECDSA", Peer: &Peer{UID: 0, PID: 7, Executable: "/usr/bin/notation"},
	})
	want := `{"version":1,"previous":"` + noHash + `","time":"2026-11-30T07:00:01.000002Z","event":"signature","signingTime":"2026-11-30T07:00:01Z",` +
		`"artifact":{"digest":"sha256:00","mediaType":"text/plain","size":0},"key":"pkcs11:token=Release;object=signing","tokenSerial":"0123","certificate":"ab",` +
		`"mechanism":"CKM_ECDSA","peer":{"uid":0,"pid":7,"executable":"/usr/bin/notation"}}` + "\n"
	if got := read(t, l.Path()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	second := mustAppend(t, l, Entry{Event: Refusal, Reason: "no"})
	if !strings.Contains(read(t, l.Path()), "\n"+`{"version":1,"previous":"`+hash+`","time":"20`) {
		t.Errorf("the second line doesn't hold the hash of the first, %s:\n%s", hash, read(t, l.Path()))
	}
	s := checkChain(t, l.Path(), hash, 2)
	if s.Hash != second || s.Expected != 1 || !reflect.DeepEqual(s.Events, map[Event]int{Signature: 1, Refusal: 1}) || !s.First.Equal(at) {
		t.Errorf("summary %+v", s)
	}
}

// What a request says can steer no terminal that shows the log, and begins no line.
func TestForeignTextIsHarmless(t *testing.T) {
	l := newLog(t)
	reason := "a\nb\x1b[2J\u009b\u202e\u2028\x7f\xff\U0001F600"
	mustAppend(t, l, Entry{Event: Refusal, Reason: reason, Key: "{\"version\":1}"})
	content := read(t, l.Path())
	if strings.ContainsFunc(strings.TrimSuffix(content, "\n"), func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Errorf("%q", content)
	}
	if parsed, whole := parse([]byte(content)); !whole || parsed.Reason != strings.ReplaceAll(reason, "\xff", "\uFFFD") {
		t.Errorf("%q is read as %+v", content, parsed)
	}
	checkChain(t, l.Path(), "", 1)
}

func TestLinesAreBounded(t *testing.T) {
	l := newLog(t)
	long := strings.Repeat("é", maxLine)
	hash := mustAppend(t, l, Entry{Event: Refusal, Reason: long, Key: long, Peer: &Peer{Executable: long}})
	if size := len(read(t, l.Path())); size > maxLine {
		t.Errorf("a line of %d bytes", size)
	}
	if _, err := l.Append(Entry{Event: Signature, Key: long}); err == nil || !strings.Contains(err.Error(), "the limit is 16384") {
		t.Errorf("a key of %d bytes: error %v", len(long), err)
	}
	checkChain(t, l.Path(), hash, 1)
}

func TestWritersOfOneProcessChain(t *testing.T) {
	l := newLog(t)
	other := reopen(t, l.Path())
	const each = 25
	var group sync.WaitGroup
	hashes := make([]string, 4*each)
	for w := range 4 {
		log := []*Log{l, other}[w%2]
		group.Go(func() {
			for i := range each {
				hash, err := log.Append(Entry{Event: Signature, Reason: fmt.Sprint(w, i)})
				if err != nil {
					t.Error(err)
				}
				hashes[w*each+i] = hash
			}
		})
	}
	group.Wait()
	for _, hash := range hashes {
		checkChain(t, l.Path(), hash, 4*each)
	}
}

func TestLogGoesOnAfterATornLine(t *testing.T) {
	for name, torn := range map[string][]string{
		"a few bytes":          {`{"ver`},
		"a line but its end":   {`{"version":1,"previous":"` + noHash + `","event":"signature"`},
		"zeros of a file hole": {"\x00\x00\x00\x00"},
		"twice":                {`{"version":1`, "\n{\"version\":1,\"pre"},
		"an end alone":         {"\n"},
	} {
		l := newLog(t)
		first := mustAppend(t, l, Entry{Event: Signature})
		for _, text := range torn {
			add(t, l.Path(), text)
		}
		if s := checkChain(t, l.Path(), first, 1); len(s.Torn) != len(torn) || s.Torn[0] != 2 || s.Hash != first {
			t.Errorf("%s: before the next line: %+v", name, s)
		}
		second := mustAppend(t, l, Entry{Event: Signature})
		s := checkChain(t, l.Path(), second, 2)
		if len(s.Torn) != len(torn) || s.Expected != 2+len(torn) {
			t.Errorf("%s: %+v", name, s)
		}
		lines := strings.SplitAfter(read(t, l.Path()), "\n")
		for what, changed := range map[string]string{
			"changed": lines[0] + "x" + strings.Join(lines[1:], ""),
			"removed": lines[0] + strings.Join(lines[1+len(torn):], ""),
		} {
			if _, err := Verify(strings.NewReader(changed), ""); err == nil {
				t.Errorf("%s: the torn line can be %s", name, what)
			}
		}
		checkChain(t, l.Path(), mustAppend(t, reopen(t, l.Path()), Entry{Event: End}), 3)
	}
}

func TestFirstLineThatIsTornIsGoneOnFrom(t *testing.T) {
	l := newLog(t)
	add(t, l.Path(), beginning[:20])
	hash := mustAppend(t, reopen(t, l.Path()), Entry{Event: Signature})
	if s := checkChain(t, l.Path(), hash, 1); !reflect.DeepEqual(s.Torn, []int{1}) {
		t.Errorf("%+v", s)
	}
}

// A line whose end alone is missing is whole: what it says is all there.
func TestLineWithoutItsEndIsWhole(t *testing.T) {
	l := newLog(t)
	hash := mustAppend(t, l, Entry{Event: Signature})
	if err := os.Truncate(l.Path(), int64(len(read(t, l.Path())))-1); err != nil {
		t.Fatal(err)
	}
	checkChain(t, l.Path(), hash, 1)
	again := reopen(t, l.Path())
	if s := checkChain(t, l.Path(), mustAppend(t, again, Entry{Event: Signature}), 2); s.Torn != nil {
		t.Errorf("%+v", s)
	}
}

func TestEndThatIsNoLogIsNotGoneOnFrom(t *testing.T) {
	for name, text := range map[string]string{
		"a long line":       strings.Repeat("x", maxLine+1),
		"many short ones":   strings.Repeat("x\n", tailWindow),
		"one long, one not": strings.Repeat("x", maxLine+1) + "\nx",
	} {
		l := newLog(t)
		mustAppend(t, l, Entry{Event: Signature})
		add(t, l.Path(), text)
		before := read(t, l.Path())
		if _, err := l.Append(Entry{Event: Signature}); err == nil || !strings.Contains(err.Error(), "name a new file") {
			t.Errorf("%s: error %v", name, err)
		}
		if read(t, l.Path()) != before {
			t.Errorf("%s: the log was changed", name)
		}
	}
}

// However long a log is, its end alone is read.
func TestLongLogIsGoneOnFrom(t *testing.T) {
	l := newLog(t)
	for range 40 {
		mustAppend(t, l, Entry{Event: Signature, Key: strings.Repeat("k", maxLine/2)})
	}
	if size := len(read(t, l.Path())); size < 2*tailWindow {
		t.Fatalf("the log has %d bytes", size)
	}
	checkChain(t, l.Path(), mustAppend(t, reopen(t, l.Path()), Entry{Event: End}), 41)
}

func TestFileThatIsGoneIsNoticed(t *testing.T) {
	move := func(path string) error { return os.Rename(path, path+".1") }
	for name, row := range map[string]struct {
		change func(path string) error
		says   string
	}{
		"deleted":      {os.Remove, "deleted or moved"},
		"moved":        {move, "deleted or moved"},
		"replaced":     {func(path string) error { return errors.Join(move(path), os.WriteFile(path, nil, 0o600)) }, "replaced"},
		"a link there": {func(path string) error { return errors.Join(move(path), os.Symlink(path+".1", path)) }, "replaced"},
		"cut":          {func(path string) error { return os.Truncate(path, 100) }, "cut from 152 bytes to 100"},
		"emptied":      {func(path string) error { return os.Truncate(path, 0) }, "cut from 152 bytes to 0"},
	} {
		l := newLog(t)
		mustAppend(t, l, Entry{Event: Signature})
		if err := row.change(l.Path()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := l.Append(Entry{Event: Signature}); err == nil || !strings.Contains(err.Error(), row.says) || !strings.Contains(err.Error(), l.Path()) {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
}

// A writer that was stopped in the middle must not stop the others for ever.
func TestLockThatIsNeverLetGoIsAnError(t *testing.T) {
	holder := newLog(t)
	l := reopen(t, holder.Path())
	l.patience = time.Millisecond
	if err := tryLock(holder.file); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := l.Append(Entry{Event: Signature}); err == nil || !strings.Contains(err.Error(), "another process has had it locked for 1ms") {
			t.Errorf("error %v", err)
		}
	}
	unlock(holder.file)
	checkChain(t, holder.Path(), mustAppend(t, l, Entry{Event: Signature}), 1) // it goes on
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosedLogTakesNothing(t *testing.T) {
	l := newLog(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(Entry{Event: Signature}); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("error %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// A relative path is that of the directory in which the log was opened.
func TestDirectoryMayChange(t *testing.T) {
	t.Chdir(t.TempDir())
	l := reopen(t, "audit.log")
	t.Chdir(t.TempDir())
	mustAppend(t, l, Entry{Event: Signature})
	checkChain(t, l.Path(), "", 1)
}

// Whatever is at the end of a log, the next line either is not written, or is
// found in its place.
func FuzzEndOfLog(f *testing.F) {
	f.Add(`{"version":1,"prev`)
	f.Add("\n\n")
	f.Add(beginning + `time":"2026-11-30T07:00:00Z","event":"end"}`)
	f.Fuzz(func(t *testing.T, end string) {
		l := newLog(t)
		defer l.Close()
		mustAppend(t, l, Entry{Event: Signature})
		add(t, l.Path(), end)
		hash, err := l.Append(Entry{Event: Signature})
		if err != nil {
			return
		}
		s, err := Verify(strings.NewReader(read(t, l.Path())), hash)
		if broken := (*BrokenError)(nil); errors.As(err, &broken) && strings.Contains(end, "version") {
			return // it was put in
		}
		if err != nil || s.Hash != hash {
			t.Errorf("%v, %+v", err, s)
		}
	})
}
