// SPDX-License-Identifier: Apache-2.0

package publish

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// stalledError ends a transfer in which nothing moves any more.
type stalledError struct{ after time.Duration }

func (e stalledError) Error() string {
	return fmt.Sprintf("no byte was transferred for %v", e.after)
}

// sourceError is why a blob could not be read, as opposed to be sent.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// corruptError says that a source has something else than what the manifest lists. It
// will be the same when it is read again.
type corruptError struct{ text string }

func (e corruptError) Error() string { return e.text }

// transfer is a blob on its way from a source into an upload. It opens the source at
// the first read. It is for the registry to compare the digest; to do so twice would
// cost more than all else. After an error it can't be resumed: the blob is sent again,
// by another transfer.
type transfer struct {
	desc  ocispec.Descriptor
	open  func() (io.ReadCloser, error)
	moved *atomic.Int64 // bytes of all transfers

	limit time.Duration // without a byte, after which stop is called
	stop  func(error)

	read atomic.Int64 // bytes

	mu     sync.Mutex
	timer  *time.Timer
	body   io.ReadCloser
	closed bool
	err    error // of the source
}

// Read implements [io.Reader].
func (t *transfer) Read(p []byte) (int, error) {
	if !t.begun() {
		if err := t.begin(); err != nil {
			return 0, t.fail(err)
		}
	}
	left := t.desc.Size - t.read.Load()
	if left == 0 {
		return 0, io.EOF
	}
	n, err := t.body.Read(p[:min(int64(len(p)), left)])
	if n > 0 {
		t.timer.Reset(t.limit)
		t.read.Add(int64(n))
		t.moved.Add(int64(n))
	}
	switch {
	case t.read.Load() == t.desc.Size, err == nil:
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, t.fail(fmt.Errorf("read blob %s: %w", t.desc.Digest, err))
}

// begin opens the source.
func (t *transfer) begin() error {
	t.mu.Lock()
	t.timer = time.AfterFunc(t.limit, func() { t.stop(stalledError{t.limit}) })
	t.mu.Unlock()
	body, err := t.open()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.Join(errors.New("the upload ended before it began"), body.Close())
	}
	t.body = body
	return nil
}

// fail notes an error of the source.
func (t *transfer) fail(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed { // else it is of the closing
		t.err = &sourceError{err}
	}
	return err
}

// begun reports whether something was read.
func (t *transfer) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.body != nil
}

// failed returns the error of the source, if there was one.
func (t *transfer) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// end ends a transfer, whether it succeeded or not.
func (t *transfer) end() {
	t.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
	}
}

// Close implements [io.Closer]: nothing more is read. That the upload is answered is
// still waited for. It may be called more than once, and while another
// goroutine reads.
func (t *transfer) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	if t.body == nil {
		return nil
	}
	return t.body.Close()
}
