// SPDX-License-Identifier: Apache-2.0

package auditlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/notation-pkcs11/notation-pkcs11/internal/trustedfile"
)

// Log is an audit log that is open for appending. It may be used from several
// goroutines.
type Log struct {
	path     string
	patience time.Duration // lockPatience, but in tests

	appending sync.Mutex // flock(2) knows files that are open, not goroutines
	file      *os.File
	end       int64     // of the log after the last line of this process
	waiting   time.Time // since when another process has been seen to have the lock; zero: none was
	closed    bool
}

// Open opens a log, or makes it with the mode 0600. The file must be a regular one
// of this user, or of root, that no other user can write to; a symbolic link is
// refused, and so is a file that is something else than an audit log. Errors name
// the path.
func Open(path string) (*Log, error) {
	absolute, err := filepath.Abs(path) // the working directory may change
	if err != nil {
		return nil, refuse(path, err)
	}
	f, err := openFile(absolute)
	if err != nil {
		return nil, refuse(path, err)
	}
	l := &Log{path: absolute, patience: lockPatience, file: f}
	if err := l.inspect(); err != nil {
		f.Close()
		return nil, refuse(path, err)
	}
	return l, nil
}

// refuse is the error of a path that is opened.
func refuse(path string, err error) error {
	var failed *fs.PathError
	if errors.As(err, &failed) {
		err = failed.Err // which names the path again
	}
	return fmt.Errorf("the audit log %s can't be opened: %w", path, err)
}

// openFile opens the file. A pipe could block for ever.
func openFile(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil, errors.New("it is a symbolic link; name the file itself")
	}
	isNew := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|noFollow|syscall.O_NONBLOCK, 0o600)
	if err == nil && isNew {
		err = syncDirectory(filepath.Dir(path)) // else a crash could take the file away
	}
	return f, err
}

// inspect holds the open file against the rule, and against what a log begins with.
func (l *Log) inspect() error {
	if err := trustedfile.CheckOpen(l.file, trustedfile.Log); err != nil {
		return says(err)
	}
	if err := checkGroup(l.file); err != nil {
		return err
	}
	first := make([]byte, len(beginning))
	n, err := l.file.ReadAt(first, 0)
	if err != nil && err != io.EOF {
		return err
	}
	if !isBeginning(first[:n]) {
		return errors.New("the file exists and is not an audit log; name a new file")
	}
	return nil
}

// says makes a sentence of an error that follows a file's name.
func says(err error) error {
	if refused := (*trustedfile.Error)(nil); errors.As(err, &refused) {
		return fmt.Errorf("it %w", err)
	}
	return err
}

// Path returns the absolute path of the log.
func (l *Log) Path() string { return l.path }

// Append writes an entry as the last line and returns its hash, which the next line
// will hold, and which [Verify] takes. The line is on disk then. An error means
// that the log has no such line, or that it isn't known to be on disk: what it is
// about must not happen.
func (l *Log) Append(e Entry) (hash string, err error) {
	l.appending.Lock()
	defer l.appending.Unlock()
	hash, err = l.append(e)
	if err != nil {
		var failed *fs.PathError
		if errors.As(err, &failed) {
			err = failed.Err
		}
		return "", fmt.Errorf("the audit log %s can't be written: %w", l.path, err)
	}
	return hash, nil
}

func (l *Log) append(e Entry) (string, error) {
	if l.closed {
		return "", errors.New("it is closed")
	}
	if err := l.lock(); err != nil {
		return "", err
	}
	defer unlock(l.file)
	size, err := l.checkFile()
	if err != nil {
		return "", err
	}
	last, err := readTail(l.file, size)
	if err != nil {
		return "", err
	}
	encoded, err := e.encode(last.hash, last.torn)
	if err != nil {
		return "", err
	}
	if err := l.write(append(last.missing, encoded...), size); err != nil {
		return "", err
	}
	return hashOf(encoded), nil
}

// lockPatience is how long another writer may have the log locked, which it has for
// one line. One that was stopped in the middle must not stop all the others.
const lockPatience = 30 * time.Second

// lockPause is about how long it takes to write a line.
const lockPause = 2 * time.Millisecond

// errLocked says that another process has the lock.
var errLocked = errors.New("it is locked")

// lock waits for the other writers. Those who ask while one has it for too long wait
// no longer than the first of them.
func (l *Log) lock() error {
	if l.waiting.IsZero() {
		l.waiting = time.Now()
	}
	for {
		err := tryLock(l.file)
		if !errors.Is(err, errLocked) {
			l.waiting = time.Time{}
			return err
		}
		if time.Since(l.waiting) >= l.patience {
			return fmt.Errorf("another process has had it locked for %v; end that process", l.patience)
		}
		time.Sleep(lockPause/2 + rand.N(lockPause))
	}
}

// checkFile returns the size of the log, if it is still the file at the path, and
// has what this process wrote.
func (l *Log) checkFile() (int64, error) {
	open, err := l.file.Stat()
	if err != nil {
		return 0, err
	}
	there, err := os.Lstat(l.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, errors.New("the file was deleted or moved while it was open")
	case err != nil:
		return 0, err
	case !os.SameFile(open, there):
		return 0, errors.New("the file was replaced while it was open")
	case open.Size() < l.end:
		return 0, fmt.Errorf("the file was cut from %d bytes to %d", l.end, open.Size())
	}
	return open.Size(), nil
}

// write appends bytes and waits until they are on disk. Where that fails, it takes
// back what is there of them: the next writer could do without, but a disk that
// was full should not leave a torn line each time.
func (l *Log) write(text []byte, size int64) error {
	_, err := l.file.Write(text)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		_ = l.file.Truncate(size) // else the line is torn, which the next writer sees
		return err
	}
	l.end = size + int64(len(text))
	return nil
}

// Close closes the log.
func (l *Log) Close() error {
	l.appending.Lock()
	defer l.appending.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.file.Close()
}

// tail is where the next line goes on.
type tail struct {
	hash    string // of the last whole line
	torn    string // the hash of what follows that; empty if nothing does
	missing []byte // the end of the last line, if it has none
}

// tailWindow bounds how much of the end is looked at, in bytes: a whole line, and
// some that were torn, each by a crash of its own.
const tailWindow = 8 * maxLine

// readTail reads the end of a log. Only its last bytes are read, however long it is.
func readTail(r io.ReaderAt, size int64) (tail, error) {
	window := make([]byte, min(size, tailWindow))
	if _, err := r.ReadAt(window, size-int64(len(window))); err != nil && err != io.EOF {
		return tail{}, err
	}
	last := tail{hash: noHash}
	if len(window) > 0 && window[len(window)-1] != '\n' {
		last.missing = []byte{'\n'}
		window = append(window, '\n')
	}
	// From the end on, one line more each time, until one is whole.
	for start := len(window); start > 0; {
		end := start
		start = bytes.LastIndexByte(window[:end-1], '\n') + 1
		if end-start > maxLine {
			return tail{}, fmt.Errorf("its last line has more than %d bytes, so the file is not an audit log; name a new file", maxLine)
		}
		if _, whole := parse(window[start:end]); whole {
			last.hash = hashOf(window[start:end])
			if end < len(window) {
				last.torn = hashOf(window[end:])
			}
			return last, nil
		}
	}
	if size > tailWindow {
		return tail{}, fmt.Errorf("its last %d bytes contain no line of an audit log; name a new file", tailWindow)
	}
	if len(window) > 0 {
		last.torn = hashOf(window)
	}
	return last, nil
}
